"""Parts that the recipes' networks share: input, backbone weights, head, and which layers train."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.errors import ConfigurationError
from training.recipe import EVERY_LAYER

BACKBONE = "backbone"


def check_weights(weights: str) -> None:
    """Accept `imagenet`, `none` or an existing file.

    Raises:
        ConfigurationError: It is none of them.
    """
    if weights not in ("imagenet", "none") and not Path(weights).is_file():
        raise ConfigurationError(f"There is no weights file {weights}; give imagenet, none or a file as --weights.")


def grey_input(side: int, *, scale: float, offset: float) -> tuple[Any, Any]:
    """Start a network: uint8 grey in, the backbone's range and three channels out.

    Args:
        side: Pixels.
        scale: Multiplies the grey levels 0 to 255.
        offset: Is added after.

    Returns:
        The input (N, side, side, 1) and the tensor (N, side, side, 3) to build on.
    """
    import keras

    entry = keras.Input((side, side, 1), dtype="uint8", name="radiograph")
    scaled = keras.layers.Rescaling(scale, offset, name="to_backbone_range")(entry)
    return entry, keras.layers.Concatenate(name="grey_to_three_channels")([scaled, scaled, scaled])


def pooled_head(features: Any, *, classes: int, dropout: float) -> Any:
    """End a network: average over the feature map, dropout, softmax over `classes`."""
    import keras

    pooled = keras.layers.GlobalAveragePooling2D(name="pool")(features)
    kept = keras.layers.Dropout(dropout, name="dropout")(pooled)
    return keras.layers.Dense(classes, activation="softmax", name="probabilities")(kept)


def application(build: Callable[..., Any], side: int, weights: str) -> Any:
    """Build one of `keras.applications` without its top, as the layer `backbone`.

    Raises:
        ConfigurationError: The weights file is missing or fits another network, or a download failed.
    """
    check_weights(weights)
    source = None if weights == "none" else weights
    try:
        return build(include_top=False, weights=source, input_shape=(side, side, 3), name=BACKBONE)
    # Keras raises a bare Exception when a download fails, ValueError and OSError for files that do not fit.
    except Exception as error:
        if source is None:
            raise ConfigurationError(f"The backbone cannot be built for {side} px: {error}") from error
        hint = (
            "Without a network give a file or none." if weights == "imagenet" else "Give a file made for this backbone."
        )
        raise ConfigurationError(f"The weights {weights} cannot be loaded: {str(error).rstrip('.')}. {hint}") from error


def set_trained_layers(model: Any, backbone_layers: int, *, pretrained: bool) -> None:
    """Choose what trains; compile afterwards.

    Args:
        model: A recipe's network; one without backbone trains whole.
        backbone_layers: How many of the backbone's layers train, from the top: 0 none, EVERY_LAYER all.
        pretrained: Whether the backbone began with trained weights. Then its batch normalisation never trains:
            batches of a few radiographs would spoil statistics gathered over a large set. Without trained weights
            there is nothing to keep, and every layer trains in every phase.
    """
    import keras

    backbone = next((layer for layer in model.layers if layer.name == BACKBONE), None)
    if backbone is None or not pretrained:
        return
    frozen = 0 if backbone_layers == EVERY_LAYER else max(0, len(backbone.layers) - backbone_layers)
    for index, layer in enumerate(backbone.layers):
        layer.trainable = index >= frozen and not isinstance(layer, keras.layers.BatchNormalization)
