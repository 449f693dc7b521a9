"""Turn a trained Keras model into the LiteRT file that serves on CPUs, and hold the two equal."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import ModelMismatch

#: Greatest accepted difference of a probability between the two engines. 7e-5 was measured for a float32
#: MobileNetV2 on 200 radiographs; float16 weights changed labels and are therefore not offered.
TOLERANCE = 1e-3


def compile_litert(model: Any) -> bytes:
    """Compile a Keras model in float32 for batches of one.

    A fixed batch lets XNNPACK plan its memory once. The input tensor stays uint8, like the model's own.

    Args:
        model: Takes (N, side, side, channels) uint8.

    Returns:
        The content of `model.tflite`.
    """
    import tensorflow as tf

    class Served(tf.Module):  # type: ignore[misc]  # TensorFlow ships no types
        """Owns the variables, which the converter otherwise does not find in a Keras 3 model."""

        def __init__(self) -> None:
            super().__init__()
            self.weights = [variable.value for variable in model.variables]

    entry = tf.TensorSpec([1, *model.input_shape[1:]], tf.uint8)
    function = tf.function(lambda radiograph: model(radiograph, training=False)).get_concrete_function(entry)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], Served())
    return bytes(converter.convert())


def refuse_difference(reference: NDArray[np.floating], compiled: NDArray[np.floating]) -> float:
    """Return the greatest difference of two engines' probabilities, each (N, classes), on the same images.

    Raises:
        ModelMismatch: A label changes, or a probability differs by more than TOLERANCE.
    """
    difference = float(np.abs(reference - compiled).max())
    changed = int((reference.argmax(axis=1) != compiled.argmax(axis=1)).sum())
    if changed or not difference <= TOLERANCE:
        raise ModelMismatch(
            f"The compiled network differs from the trained one: {changed} of {len(reference)} labels change, "
            f"probabilities differ by up to {difference:.2g} (at most {TOLERANCE:g} is accepted). It is not published."
        )
    return difference
