"""The pretrained networks that recipes build on: what input each expects, and how its weights are loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from core.errors import ConfigurationError
from training import efficientnet_lite

#: The name of the backbone's layer in every recipe's network.
BACKBONE = "backbone"


@dataclass(frozen=True)
class Backbone:
    """A network without its top.

    `scale` multiplies the grey levels 0 to 255, `offsets` are added after, one for each of the three channels: the
    range that the network's own `preprocess_input` makes.
    """

    title: str
    application: str  # its name in keras.applications, or LITE and a variant of EfficientNet-Lite
    scale: float
    offsets: tuple[float, float, float]
    last_layer: str | None = None  # where it is cut; None keeps it whole
    earlier_layers: tuple[str, ...] = ()  # for heads that look at several depths

    @property
    def lite(self) -> int | None:
        """Which EfficientNet-Lite it is; None for what Keras has."""
        return int(self.application.removeprefix(LITE)) if self.application.startswith(LITE) else None


#: Begins the name of what `efficientnet_lite.py` builds.
LITE = "EfficientNetLite"


def _efficientnet_lite(variant: int) -> Backbone:
    # Less 127 and divided by 128, as its authors have it.
    return Backbone(
        f"EfficientNet-Lite{variant}",
        f"{LITE}{variant}",
        1 / 128,
        (-127 / 128,) * 3,
        earlier_layers=efficientnet_lite.last_expansions(variant),
    )


BACKBONES: dict[str, Backbone] = {
    "efficientnetlite0": _efficientnet_lite(0),
    "efficientnetlite1": _efficientnet_lite(1),
    "efficientnetlite2": _efficientnet_lite(2),
    "efficientnetb3": Backbone("EfficientNetB3", "EfficientNetB3", 1.0, (0.0, 0.0, 0.0)),  # normalises by itself
    "mobilenetv2": Backbone(
        "MobileNetV2", "MobileNetV2", 1 / 127.5, (-1.0, -1.0, -1.0), earlier_layers=("block_13_expand_relu",)
    ),
    # Blue, green, red, less ImageNet's means, as in the original Caffe model.
    "resnet50": Backbone("ResNet50", "ResNet50", 1.0, (-103.939, -116.779, -123.68)),
    # Stage 5 is left out: a third of the arithmetic at no gain on bone-break, and weights for it were not at hand.
    "resnet50v2": Backbone(
        "ResNet50V2 to stage 4", "ResNet50V2", 1 / 127.5, (-1.0, -1.0, -1.0), "conv5_block1_preact_relu"
    ),
}


def check_weights(weights: str) -> None:
    """Accept `imagenet`, `none` or an existing file.

    Raises:
        ConfigurationError: It is none of them.
    """
    if weights not in ("imagenet", "none") and not Path(weights).is_file():
        raise ConfigurationError(f"There is no weights file {weights}; give imagenet, none or a file as --weights.")


def backbone_features(name: str, side: int, weights: str) -> tuple[Any, Any]:
    """Begin a network with a backbone.

    Args:
        name: One of BACKBONES.
        side: Pixels.
        weights: `imagenet`, `none`, a weights file, or a `.keras` file of a network over the same backbone, for
            instance one that learnt another task on radiographs.

    Returns:
        The input (N, side, side, 1) uint8 and the last feature map (N, height, width, features).

    Raises:
        ConfigurationError: The weights file is missing or fits another network, or a download failed.
    """
    entry, coloured = coloured_input(BACKBONES[name], side)
    return entry, _load(BACKBONES[name], side, weights)(coloured)


def features_of_all_depths(name: str, side: int, weights: str) -> tuple[Any, list[Any]]:
    """Begin a network with a backbone, as `backbone_features`; return its earlier feature maps and the last one."""
    import keras

    backbone = BACKBONES[name]
    entry, coloured = coloured_input(backbone, side)
    network = _load(backbone, side, weights)
    if not backbone.earlier_layers:
        return entry, [network(coloured)]
    maps = [*(network.get_layer(layer).output for layer in backbone.earlier_layers), network.output]
    return entry, keras.Model(network.input, maps, name=BACKBONE)(coloured)


def coloured_input(backbone: Backbone, side: int) -> tuple[Any, Any]:
    """Return the input (N, side, side, 1) uint8 and what the backbone sees of it, (N, side, side, 3)."""
    import keras

    entry = keras.Input((side, side, 1), dtype="uint8", name="radiograph")
    # One layer for each different offset: most backbones take the same grey three times.
    channels = {
        offset: keras.layers.Rescaling(backbone.scale, offset, name=f"to_backbone_range_{index}")(entry)
        for index, offset in enumerate(dict.fromkeys(backbone.offsets))
    }
    together = keras.layers.Concatenate(name="grey_to_three_channels")
    return entry, together([channels[each] for each in backbone.offsets])


def _load(backbone: Backbone, side: int, weights: str) -> Any:
    import keras

    check_weights(weights)
    try:
        network: Any = _builder(backbone, weights)(input_shape=(side, side, 3), name=BACKBONE)
        if backbone.last_layer is not None:
            network = keras.Model(network.input, network.get_layer(backbone.last_layer).output, name=BACKBONE)
        if weights == "imagenet" and backbone.lite is not None:
            weights = efficientnet_lite.packaged_weights(backbone.lite)
        if weights.endswith(".pth") and backbone.lite is not None:
            efficientnet_lite.load_torch_weights(network, Path(weights))
        elif weights.endswith(".keras"):
            trained: Any = keras.saving.load_model(weights, compile=False, safe_mode=True)
            network.set_weights(trained.get_layer(BACKBONE).get_weights())
        elif weights not in ("imagenet", "none"):
            network.load_weights(weights)
        return network
    except ConfigurationError:
        raise
    # Keras raises a bare Exception when a download fails, ValueError and OSError for files that do not fit.
    except Exception as error:
        if weights == "none":
            raise ConfigurationError(f"The backbone cannot be built for {side} px: {error}") from error
        hint = (
            "Without a network give a file or none." if weights == "imagenet" else "Give a file made for this backbone."
        )
        raise ConfigurationError(f"The weights {weights} cannot be loaded: {str(error).rstrip('.')}. {hint}") from error


def _builder(backbone: Backbone, weights: str) -> Callable[..., Any]:
    """Return what builds the network without its top, given `input_shape` and `name`."""
    import keras

    if backbone.lite is not None:
        return partial(efficientnet_lite.build, backbone.lite)
    # Keras downloads what it has itself; files are loaded afterwards.
    downloaded = weights if weights == "imagenet" else None
    return partial(getattr(keras.applications, backbone.application), include_top=False, weights=downloaded)


def set_trained_layers(model: Any, backbone_layers: int | None, *, pretrained: bool) -> None:
    """Choose what trains; compile afterwards.

    Args:
        model: A recipe's network; one without backbone trains whole.
        backbone_layers: How many of the backbone's layers train, from the top: 0 none, None all.
        pretrained: Whether the backbone began with trained weights. Then its batch normalisation never trains:
            batches of a few radiographs would spoil statistics gathered over a large set. Without trained weights
            there is nothing to keep, and every layer trains in every phase.
    """
    import keras

    backbone = next((layer for layer in model.layers if layer.name == BACKBONE), None)
    if backbone is None or not pretrained:
        return
    frozen = 0 if backbone_layers is None else max(0, len(backbone.layers) - backbone_layers)
    for index, layer in enumerate(backbone.layers):
        layer.trainable = index >= frozen and not isinstance(layer, keras.layers.BatchNormalization)
