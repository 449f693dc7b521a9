"""Fracture type with a small convolutional network of our own, learnt from nothing.

Three blocks of convolution, batch normalisation, leaky ReLU and dropout, then a dense layer, at 128 px, as published.
It trains on either backend of Keras 3: `KERAS_BACKEND=torch` needs the extra `torch`; the network's file is the same
kind and serves under TensorFlow.
"""

from __future__ import annotations

from typing import Any

from training.heads import probabilities
from training.recipe import Phase, Recipe

_FILTERS = (32, 64, 128)


def build(side: int, classes: int, weights: str) -> Any:  # noqa: ARG001 - there is nothing pretrained to load
    """Build the network; see `Recipe`."""
    import keras

    entry = keras.Input((side, side, 1), dtype="uint8", name="radiograph")
    features = keras.layers.Rescaling(1 / 255, name="to_0_1")(entry)
    for filters in _FILTERS:
        features = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False)(features)
        features = keras.layers.BatchNormalization(momentum=0.9)(features)
        features = keras.layers.LeakyReLU(0.1)(features)
        features = keras.layers.MaxPooling2D(2)(features)
        features = keras.layers.Dropout(0.25)(features)
    # Averaging in 4 x 4 fields first: a dense layer on the whole map would have eight million weights for 624 pictures.
    features = keras.layers.AveragePooling2D(4)(features)
    features = keras.layers.Dense(128, activation="relu", name="dense")(keras.layers.Flatten()(features))
    features = keras.layers.Dropout(0.5)(features)
    return keras.Model(entry, probabilities(features, classes=classes), name="cnn")


RECIPES = (
    Recipe(
        name="cnn",
        title="Fracture type, small CNN",
        task="fracture-type",
        side=128,
        batch_size=32,
        phases=(Phase("whole network", epochs=40, learning_rate=1e-3, backbone_layers=None),),
        patience=12,
        monitor="valid_loss",
        build=build,
        weight_decay=1e-4,
        pretrained=False,
    ),
)
