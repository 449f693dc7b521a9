"""Ends of networks that recipes share: from a feature map to probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

#: A head costs nothing, and averages need their last digits: it computes in float32 whatever the network trains in.
_SINGLE: dict[str, Any] = {"dtype": "float32"}

#: Names by which others find the layers of an end: the average, what puts features on one scale, dropout, the answer.
POOL, POOL_NORM, DROPOUT = "pool", "pool_norm", "dropout"
PROBABILITIES, FIRST_PROBABILITY = "probabilities", "probability_of_first"
#: Of `linear_head`, with the number of the map behind it: the squared map, and its average.
SQUARED, POOL_SQUARED = "squared_", "pool_"


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


def linear_head(maps: Sequence[Any], *, classes: int) -> Any:
    """Take each feature's root mean square over its map, normalise, and answer with one layer (`training/solving.py`).

    Args:
        maps: One or more of (N, height, width, features).
        classes: Number of outputs.

    Source: the root mean square is the generalised mean of Radenovic et al. 2018 with p = 2. On bone-break
    (ResNet50V2, 320 px, cross-validated) it beats the average by 0.035 nats, p = 3 to 6 by no more.
    """
    import keras

    pooled = []
    for number, features in enumerate(maps):
        squared = keras.layers.Multiply(name=f"{SQUARED}{number}", **_SINGLE)([features, features])
        mean = keras.layers.GlobalAveragePooling2D(name=f"{POOL_SQUARED}{number}", **_SINGLE)(squared)
        pooled.append(keras.ops.sqrt(mean))
    together = keras.layers.Concatenate(name="pooled", **_SINGLE)(pooled) if len(pooled) > 1 else pooled[0]
    kept = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=POOL_NORM, **_SINGLE)(together)
    return probabilities(kept, classes=classes)


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
