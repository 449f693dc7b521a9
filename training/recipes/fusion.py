"""A convolutional backbone and transformer attention, fused: the features are read twice.

Each place of the backbone's last feature map is a token; a transformer encoder relates the tokens to each other, while
the other branch averages the same map. Both ends are joined before the softmax. The published network fed raw pixels to
its transformer, with a position embedding that was neither trained nor saved; here it reads the backbone's features and
its position embedding is the bias of the layer that makes the tokens, one vector for each place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from training.backbones import BACKBONES, backbone_features
from training.heads import probabilities
from training.recipe import Phase, Recipe

_WIDTH = 128  # of a token
_HEADS = 4
_BLOCKS = 2


def build(backbone: str, side: int, classes: int, weights: str) -> Any:
    """Build the network; see `Recipe` for the last three."""
    import keras

    entry, features = backbone_features(backbone, side, weights)
    height, width, depth = features.shape[1:]
    tokens = keras.layers.Reshape((height * width, depth), name="tokens")(features)
    tokens = keras.layers.EinsumDense(
        "btc,cd->btd",
        output_shape=(height * width, _WIDTH),
        bias_axes="td",
        bias_initializer=keras.initializers.RandomNormal(stddev=0.02),
        name="project_and_place",
    )(tokens)
    for block in range(_BLOCKS):
        tokens = _encoder_block(tokens, f"encoder_{block + 1}")
    attended = keras.layers.LayerNormalization(name="encoder_end")(tokens)
    attended = keras.layers.GlobalAveragePooling1D(name="pool_tokens")(attended)
    pooled = keras.layers.GlobalAveragePooling2D(name="pool")(features)
    pooled = keras.layers.Dense(256, activation="relu", name="pooled_dense")(keras.layers.LayerNormalization()(pooled))
    fused = keras.layers.Concatenate(name="fusion")([attended, keras.layers.Dropout(0.3)(pooled)])
    fused = keras.layers.Dense(256, activation="relu", name="fusion_dense")(fused)
    fused = keras.layers.Dropout(0.5, name="dropout")(fused)
    return keras.Model(entry, probabilities(fused, classes=classes), name=f"fusion-{backbone}")


def _encoder_block(tokens: Any, name: str) -> Any:
    """Self-attention, then a small network at each place; both normalise first and add to what came in."""
    import keras

    normal = keras.layers.LayerNormalization(name=f"{name}_norm_1")(tokens)
    attention = keras.layers.MultiHeadAttention(_HEADS, _WIDTH // _HEADS, dropout=0.1, name=f"{name}_attention")
    tokens = keras.layers.Add(name=f"{name}_add_1")([tokens, attention(normal, normal)])
    normal = keras.layers.LayerNormalization(name=f"{name}_norm_2")(tokens)
    wide = keras.layers.Dense(2 * _WIDTH, activation="gelu", name=f"{name}_wide")(normal)
    narrow = keras.layers.Dropout(0.1, name=f"{name}_dropout")(keras.layers.Dense(_WIDTH, name=f"{name}_narrow")(wide))
    return keras.layers.Add(name=f"{name}_add_2")([tokens, narrow])


def _over(backbone: str, *, trained_layers: int | None) -> Iterator[Recipe]:
    network: Callable[[int, int, str], Any] = partial(build, backbone)
    yield Recipe(
        name=f"fusion-{backbone}",
        title=f"Fracture type, {BACKBONES[backbone].title} with transformer attention",
        task="fracture-type",
        side=224,
        batch_size=16,
        phases=(
            Phase("head", epochs=8, learning_rate=5e-4, backbone_layers=0),
            Phase("top of the backbone", epochs=16, learning_rate=5e-5, backbone_layers=trained_layers),
        ),
        patience=6,
        monitor="valid_loss",
        build=network,
        weight_decay=1e-4,
        label_smoothing=0.1,
    )


RECIPES = (
    # The published network froze the first 100 of 384 layers.
    *_over("efficientnetb3", trained_layers=284),
    # The nearest backbone whose weights a package brings; its last two stages.
    *_over("efficientnetlite2", trained_layers=55),
    *_over("resnet50v2", trained_layers=50),
    *_over("mobilenetv2", trained_layers=None),
)
