"""What a network costs: its multiplications, the processor's peak, and other engines' file of it."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import numpy as np

from core.bundle import Bundle

#: Side of the square matrices whose product stands for the processor's peak, and how often it is formed.
_SIDE = 2048
_PRODUCTS = 6


def floating_point_operations(model: Any) -> int:
    """Count the operations of one image through a Keras model, two for each multiplication and addition.

    Convolutions and dense layers alone: all else is a few per cent, and is left out on both sides of a ratio.
    """
    total = 0
    for layer in model.layers:
        if hasattr(layer, "layers"):
            total += floating_point_operations(layer)
            continue
        kind = type(layer).__name__
        if kind == "Conv2D":
            total += 2 * math.prod(layer.output.shape[1:]) * math.prod(layer.kernel.shape[:3])
        elif kind == "DepthwiseConv2D":
            total += 2 * math.prod(layer.output.shape[1:]) * math.prod(layer.kernel.shape[:2])
        elif kind in ("Dense", "EinsumDense"):
            places = math.prod(layer.output.shape[1:-1])
            total += 2 * places * math.prod(layer.kernel.shape)
    return total


def peak_operations_per_second() -> float:
    """Multiply large float32 matrices, on all cores that this process may use; the best of several times."""
    generator = np.random.default_rng(0)
    one, other = (generator.random((_SIDE, _SIDE), dtype=np.float32) for _ in range(2))
    best = math.inf
    for _ in range(_PRODUCTS):
        started = time.perf_counter()
        one @ other
        best = min(best, time.perf_counter() - started)
    return 2 * _SIDE**3 / best


def write_onnx(bundle: Bundle, path: Path) -> int:
    """Write the bundle's trained network as ONNX with an open batch, for the engines that read it.

    Returns:
        The operations of one image.
    """
    import tensorflow as tf
    import tf2onnx
    from keras.saving import load_model

    model: Any = load_model(bundle.file("model.keras"), compile=False, safe_mode=True)
    entry = tf.TensorSpec([None, *model.input_shape[1:]], tf.uint8, name="radiograph")
    traced = tf.function(lambda radiograph: tf.nest.flatten(model(radiograph, training=False)), input_signature=[entry])
    tf2onnx.convert.from_function(traced, input_signature=[entry], opset=17, output_path=str(path))
    return floating_point_operations(model)
