"""Ends of networks that recipes share: from a feature map to probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

#: A head costs nothing, and averages need their last digits: it computes in float32 whatever the network trains in.
_SINGLE: dict[str, Any] = {"dtype": "float32"}

#: Names by which others find the layers of an end: the average, what puts features on one scale, dropout, the answer.
POOL, POOL_NORM, DROPOUT = "pool", "pool_norm", "dropout"
PROBABILITIES, FIRST_PROBABILITY = "probabilities", "probability_of_first"
#: Of `linear_head`, with a number behind it: the squares of a map in one region, and their average.
SQUARED, POOL_SQUARED = "squared_", "pool_"

#: Added to grey levels from 0 to 1, so that a black picture has places too.
_DARK = 1e-3


def pooled_head(features: Any, *, classes: int, dropout: float, units: int = 0) -> Any:
    """Average over the feature map, normalise, perhaps a dense layer, dropout, probabilities.

    Args:
        features: (N, height, width, features).
        classes: Number of outputs.
        dropout: Share of the features left out in training.
        units: Width of the dense layer; 0 leaves it out.
    """
    import keras

    pooled = keras.layers.GlobalAveragePooling2D(name=POOL, **_SINGLE)(features)
    # Averages of a pretrained map differ by as little as 0.01; on one scale the head learns in a few epochs.
    kept = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=POOL_NORM, **_SINGLE)(pooled)
    if units:
        kept = keras.layers.Dense(units, activation="relu", name="dense", **_SINGLE)(kept)
    kept = keras.layers.Dropout(dropout, name=DROPOUT, **_SINGLE)(kept)
    return probabilities(kept, classes=classes)


def linear_head(picture: Any, maps: Sequence[Any], *, classes: int) -> Any:
    """Answer with one layer (`training/solving.py`) from root mean squares of the features over three regions.

    The whole map; its middle, where a radiographer puts what matters; and where the picture is bright, which is where
    bone is and the padding is not.

    Args:
        picture: (N, side, side, 1) grey levels 0 to 255.
        maps: One or more of (N, height, width, features), finer ones first.
        classes: Number of outputs.

    Source: the root mean square is the generalised mean of Radenovic et al. 2018 with p = 2. On bone-break
    (ResNet50V2, 320 px, cross-validated) it beats the average by 0.035 nats, p = 3 to 6 by no more. Over
    EfficientNet-Lite2 the three regions together beat the whole map by 0.03 to 0.04 nats (docs/models.md).
    """
    import keras

    grey = keras.layers.Rescaling(1 / 255, _DARK, name="grey", **_SINGLE)(picture)
    pooled: list[Any] = []
    for features in maps:
        squared = keras.layers.Multiply(**_SINGLE)([features, features])
        for region in (_whole, _middle, _bright):
            name = f"{SQUARED}{len(pooled)}"
            of_region = region(squared, grey, name)
            mean = keras.layers.GlobalAveragePooling2D(name=f"{POOL_SQUARED}{len(pooled)}", **_SINGLE)(of_region)
            pooled.append(keras.ops.sqrt(mean))
    together = keras.layers.Concatenate(name="pooled", **_SINGLE)(pooled)
    kept = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=POOL_NORM, **_SINGLE)(together)
    return probabilities(kept, classes=classes)


# Each region returns the squares, weighted so that their average over all places is the average over the region.


def _whole(squared: Any, _grey: Any, name: str) -> Any:
    import keras

    return keras.layers.Rescaling(1.0, name=name, **_SINGLE)(squared)


def _middle(squared: Any, _grey: Any, name: str) -> Any:
    """The middle half of either side; of an odd number of places one more."""
    import keras

    height, width = squared.shape[1:3]
    edge = (height // 4, width // 4)
    inner = keras.layers.ZeroPadding2D(edge, **_SINGLE)(keras.layers.Cropping2D(edge, **_SINGLE)(squared))
    share = (height - 2 * edge[0]) * (width - 2 * edge[1]) / (height * width)
    return keras.layers.Rescaling(1 / share, name=name, **_SINGLE)(inner)


def _bright(squared: Any, grey: Any, name: str) -> Any:
    import keras

    height, width = squared.shape[1:3]
    places = (grey.shape[1] // height, grey.shape[2] // width)
    weights = keras.layers.AveragePooling2D(places, padding="same", **_SINGLE)(grey)
    # Where a map's side does not divide the picture's, a rest at the lower and right edge goes uncounted.
    rest = ((0, weights.shape[1] - height), (0, weights.shape[2] - width))
    weights = keras.layers.Cropping2D(rest, **_SINGLE)(weights) if rest != ((0, 0), (0, 0)) else weights
    mean = keras.layers.GlobalAveragePooling2D(keepdims=True, **_SINGLE)(weights)
    return keras.layers.Multiply(name=name, **_SINGLE)([squared, weights / mean])


def probabilities(features: Any, *, classes: int) -> Any:
    """End with a softmax over `classes`, or for two classes with a sigmoid and its complement, in that order.

    These layers compute in float32 whatever precision the network trains in: their outputs have to sum to 1.

    Args:
        features: (N, features).
        classes: Number of outputs.
    """
    import keras

    # All classes begin equally likely. Random weights on a thousand normalised features are noise that a few hundred
    # pictures never unlearn (a head on MobileNetV2, bone-break: validation loss 2.7 nats, ln 10 is 2.3).
    settings = {**_SINGLE, "kernel_initializer": "zeros"}
    if classes > 2:
        return keras.layers.Dense(classes, activation="softmax", name=PROBABILITIES, **settings)(features)
    first = keras.layers.Dense(1, activation="sigmoid", name=FIRST_PROBABILITY, **settings)(features)
    second = keras.layers.Rescaling(-1.0, 1.0, dtype="float32", name="probability_of_second")(first)
    return keras.layers.Concatenate(dtype="float32", name=PROBABILITIES)([first, second])
