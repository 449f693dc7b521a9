"""Ten fracture types with a fine-tuned MobileNetV2: small enough to serve more than 100 images/s on one core.

The head learns first, so that its random start does not disturb the backbone; then every layer trains at a low
learning rate. Figures: training/README.md.
"""

from __future__ import annotations

from typing import Any

from training.networks import application, grey_input, pooled_head
from training.recipe import EVERY_LAYER, Phase, Recipe


def build(side: int, classes: int, weights: str) -> Any:
    """Build the network; see `Recipe`."""
    import keras

    entry, coloured = grey_input(side, scale=1 / 127.5, offset=-1.0)
    features = application(keras.applications.MobileNetV2, side, weights)(coloured)
    return keras.Model(entry, pooled_head(features, classes=classes, dropout=0.4), name="mobilenetv2")


RECIPE = Recipe(
    name="mobilenetv2",
    title="Fracture type, MobileNetV2",
    task="fracture-type",
    side=224,
    batch_size=16,
    phases=(
        Phase("head", epochs=8, learning_rate=1e-3, backbone_layers=0),
        Phase("whole network", epochs=24, learning_rate=5e-5, backbone_layers=EVERY_LAYER),
    ),
    patience=8,
    monitor="valid_macro_f1",
    build=build,
    weight_decay=1e-4,
    label_smoothing=0.1,
    class_weights=True,
)
