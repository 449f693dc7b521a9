"""Fracture type or the binary question with a fine-tuned MobileNetV2: small enough for 100 images/s on one core.

The head learns first, so that its random start does not disturb the backbone; then every layer trains at a low
learning rate. The binary recipe follows published notebooks (frozen first, then fine-tuned; sigmoid).
"""

from __future__ import annotations

from typing import Any

from training.backbones import backbone_features
from training.heads import pooled_head
from training.recipe import Phase, Recipe


def build(side: int, classes: int, weights: str) -> Any:
    """Build the network; see `Recipe`."""
    import keras

    entry, features = backbone_features("mobilenetv2", side, weights)
    return keras.Model(entry, pooled_head(features, classes=classes, dropout=0.4), name="mobilenetv2")


RECIPES = (
    Recipe(
        name="mobilenetv2",
        title="Fracture type, MobileNetV2",
        task="fracture-type",
        side=224,
        batch_size=16,
        phases=(
            Phase("head", epochs=8, learning_rate=1e-3, backbone_layers=0),
            Phase("whole network", epochs=24, learning_rate=5e-5, backbone_layers=None),
        ),
        patience=8,
        monitor="valid_macro_f1",
        build=build,
        weight_decay=1e-4,
        label_smoothing=0.1,
        class_weights=True,
    ),
    Recipe(
        name="mobilenetv2-binary",
        title="Fractured or not, MobileNetV2",
        task="fracture",
        side=224,
        batch_size=16,
        phases=(
            Phase("head", epochs=3, learning_rate=1e-3, backbone_layers=0),
            Phase("whole network", epochs=12, learning_rate=5e-5, backbone_layers=None),
        ),
        patience=4,
        monitor="valid_roc_auc",
        build=build,
        weight_decay=1e-4,
    ),
)
