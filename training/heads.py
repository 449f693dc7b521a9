"""Ends of networks that recipes share: from a feature map to probabilities."""

from __future__ import annotations

from typing import Any


def pooled_head(features: Any, *, classes: int, dropout: float, units: int = 0) -> Any:
    """Average over the feature map, normalise, perhaps a dense layer, dropout, probabilities.

    Args:
        features: (N, height, width, features).
        classes: Number of outputs.
        dropout: Share of the features left out in training.
        units: Width of the dense layer; 0 leaves it out.
    """
    import keras

    single = {"dtype": "float32"}  # the head costs nothing, and the averages need their last digits
    pooled = keras.layers.GlobalAveragePooling2D(name="pool", **single)(features)
    # Averages of a pretrained map differ by as little as 0.01; on one scale the head learns in a few epochs.
    kept = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name="pool_norm", **single)(pooled)
    if units:
        kept = keras.layers.Dense(units, activation="relu", name="dense", **single)(kept)
    kept = keras.layers.Dropout(dropout, name="dropout", **single)(kept)
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
    settings = {"dtype": "float32", "kernel_initializer": "zeros"}
    if classes > 2:
        return keras.layers.Dense(classes, activation="softmax", name="probabilities", **settings)(features)
    first = keras.layers.Dense(1, activation="sigmoid", name="probability_of_first", **settings)(features)
    second = keras.layers.Rescaling(-1.0, 1.0, dtype="float32", name="probability_of_second")(first)
    return keras.layers.Concatenate(dtype="float32", name="probabilities")([first, second])
