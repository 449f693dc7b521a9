"""ResNet50 in two phases: the head alone, then the backbone's top layers too.

`resnet50` follows the published system (average pooling, dropout 0.5, the top 50 layers, balanced class weights),
`resnet50-128` the one at 128 px, `resnet50-binary` the one for the binary question. Each stands here a second time
over ResNet50V2 to stage 4, the variant whose ImageNet weights were at hand. `resnet50v2-fine` is ours: larger
pictures, and every stage but the first two learns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from training.backbones import BACKBONES, backbone_features
from training.heads import pooled_head
from training.recipe import Phase, Recipe

#: Layers of ResNet50V2 to stage 4, from its top.
_STAGES_3_AND_4 = 116


def build(backbone: str, dropout: float, units: int, side: int, classes: int, weights: str) -> Any:
    """Build the network; see `Recipe` for the last three."""
    import keras

    entry, features = backbone_features(backbone, side, weights)
    return keras.Model(entry, pooled_head(features, classes=classes, dropout=dropout, units=units), name=backbone)


def _over(backbone: str) -> Iterator[Recipe]:
    title = BACKBONES[backbone].title

    def network(dropout: float, units: int) -> Callable[[int, int, str], Any]:
        return partial(build, backbone, dropout, units)

    yield Recipe(
        name=backbone,
        title=f"Fracture type, {title}",
        task="fracture-type",
        side=224,
        batch_size=32,
        phases=(
            Phase("head", epochs=10, learning_rate=1e-3, backbone_layers=0),
            Phase("top 50 layers", epochs=20, learning_rate=1e-4, backbone_layers=50),
        ),
        patience=6,
        monitor="valid_loss",
        build=network(dropout=0.5, units=0),
        class_weights=True,
    )
    yield Recipe(
        name=f"{backbone}-128",
        title=f"Fracture type, {title} at 128 px",
        task="fracture-type",
        side=128,
        batch_size=32,
        phases=(
            Phase("head", epochs=10, learning_rate=1e-3, backbone_layers=0),
            Phase("top 50 layers", epochs=20, learning_rate=1e-4, backbone_layers=50),
        ),
        patience=6,
        monitor="valid_loss",
        build=network(dropout=0.5, units=256),
    )
    yield Recipe(
        name=f"{backbone}-binary",
        title=f"Fractured or not, {title}",
        task="fracture",
        side=320,  # the data set's own size: fine lines are lost in anything smaller
        batch_size=16,
        phases=(
            Phase("head", epochs=2, learning_rate=1e-3, backbone_layers=0),
            Phase("stages 3 and 4", epochs=8, learning_rate=5e-5, backbone_layers=_STAGES_3_AND_4),
        ),
        patience=4,
        monitor="valid_roc_auc",
        build=network(dropout=0.3, units=0),
        weight_decay=1e-4,
    )


def _fine(backbone: str) -> Recipe:
    return Recipe(
        name=f"{backbone}-fine",
        title=f"Fracture type, {BACKBONES[backbone].title}, stages 3 and 4 fine-tuned",
        task="fracture-type",
        side=288,
        batch_size=16,
        phases=(
            Phase("head", epochs=4, learning_rate=5e-4, backbone_layers=0),
            Phase("stages 3 and 4", epochs=12, learning_rate=1e-4, backbone_layers=_STAGES_3_AND_4),
        ),
        patience=6,
        monitor="valid_loss",
        build=partial(build, backbone, 0.5, 0),
        weight_decay=1e-2,
        label_smoothing=0.1,
    )


RECIPES = (*_over("resnet50"), *_over("resnet50v2"), _fine("resnet50v2"))
