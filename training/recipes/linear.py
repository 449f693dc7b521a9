"""Penalised logistic regression on the features of a frozen backbone: the least that every other recipe has to beat.

With some hundred pictures a class it is hard to beat: nothing but one layer is learnt, and its penalty is heavy. What
it answers differs from what a fine-tuned network answers, so that their average is better than either. Since the
backbone never changes, each picture's features are measured once and the layer is solved (`training/solving.py`).
"""

from __future__ import annotations

from functools import partial
from typing import Any

from training.backbones import BACKBONES, features_of_all_depths
from training.heads import linear_head
from training.recipe import LAST_EPOCH, Phase, Recipe, Solving

#: For a thousand features. Chosen on bone-break by cross-validation, over ResNet50V2: twice of it costs 0.01 nats, two
#: fifths of it 0.05; over EfficientNet-Lite2 twice of it costs 0.03.
_PENALTY = 0.2
#: Views of each picture: as it is, mirrored, and changed at random. Four instead of eight cost 0.005 nats at most.
_VIEWS = 8


def build(backbone: str, side: int, classes: int, weights: str) -> Any:
    """Build the network; see `Recipe` for the last three.

    All depths that the backbone names are taken: what its last layers, made for ImageNet's classes, have thrown away
    is worth 0.02 of accuracy and 0.04 nats over MobileNetV2 and up to 0.03 and 0.07 over EfficientNet-Lite2; of
    ResNet50V2 to stage 4 nothing.
    """
    import keras

    entry, maps = features_of_all_depths(backbone, side, weights)
    return keras.Model(entry, linear_head(entry, maps, classes=classes), name=f"linear-{backbone}")


def _over(backbone: str, side: int, *, binary: bool = False) -> Recipe:
    question = "Fractured or not" if binary else "Fracture type"
    return Recipe(
        name=f"linear-{backbone}-binary" if binary else f"linear-{backbone}",
        title=f"{question}, logistic regression on frozen {BACKBONES[backbone].title}",
        task="fracture" if binary else "fracture-type",
        side=side,
        batch_size=16,
        phases=(Phase("solved", epochs=1, learning_rate=0.0, backbone_layers=0),),
        patience=1,
        monitor=LAST_EPOCH,
        build=partial(build, backbone),
        solving=Solving(views=_VIEWS, penalty=_PENALTY),
    )


RECIPES = (
    # 304 px: 1.84 times the pixels of 224, so that it should serve more than half as many images per second.
    _over("mobilenetv2", 304),
    _over("resnet50v2", 288),
    _over("efficientnetlite0", 256),
    _over("efficientnetlite1", 320),
    _over("efficientnetlite2", 320),
    _over("efficientnetlite1", 256, binary=True),
    _over("efficientnetlite2", 320, binary=True),
)
