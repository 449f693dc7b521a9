"""Turn a trained Keras model into the LiteRT file that serves on CPUs, and hold the two equal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from core.answers import UNLIKE_RADIOGRAPHS, answers
from core.bundle import ModelCard
from core.engines.outputs import Outputs
from core.errors import ModelMismatch

#: Greatest accepted difference of a probability between the two engines. 7e-5 was measured for a float32
#: MobileNetV2 on 200 radiographs.
TOLERANCE = 1e-3
#: Greatest accepted difference of an outlier score, relative to the threshold.
OUTLIER_TOLERANCE = 1e-2
#: How weights are stored, smallest first; the computation is in float32 in each.
PRECISIONS = ("float16", "float32")


@dataclass(frozen=True)
class Difference:
    """How far a compiled network is from the trained one, on the same images."""

    labels: int  # how many change
    probability: float  # greatest
    outlier: float  # greatest, relative to the threshold; 0 without outlier score
    flags: int  # how many outlier flags change

    @property
    def accepted(self) -> bool:
        """Whether the two may pass for the same model; NaN never does."""
        alike = self.labels == 0 and self.flags == 0
        return alike and self.probability <= TOLERANCE and self.outlier <= OUTLIER_TOLERANCE

    def __str__(self) -> str:
        return (
            f"{self.labels} labels and {self.flags} outlier flags change, probabilities differ by up to "
            f"{self.probability:.2g}, outlier scores by {self.outlier:.2g} of the threshold"
        )


def compile_litert(model: Any, precision: str = "float32") -> bytes:
    """Compile a Keras model for batches of one.

    A fixed batch lets XNNPACK plan its memory once. The input tensor stays uint8, like the model's own.

    Args:
        model: Takes (N, side, side, channels) uint8.
        precision: Of the stored weights, one of PRECISIONS.

    Returns:
        The content of `model.tflite`.
    """
    import tensorflow as tf

    converter = converter_of(model)
    if precision == "float16":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
    return bytes(converter.convert())


def converter_of(model: Any) -> Any:
    """Return a LiteRT converter of a Keras model, for batches of one."""
    import tensorflow as tf

    class Served(tf.Module):  # type: ignore[misc]  # TensorFlow ships no types
        """Owns the variables, which the converter otherwise does not find in a Keras 3 model."""

        def __init__(self) -> None:
            super().__init__()
            self.weights = [variable.value for variable in model.variables]

    entry = tf.TensorSpec([1, *model.input_shape[1:]], tf.uint8)
    function = tf.function(lambda radiograph: model(radiograph, training=False)).get_concrete_function(entry)
    return tf.lite.TFLiteConverter.from_concrete_functions([function], Served())


def difference(reference: Outputs, compiled: Outputs, card: ModelCard) -> Difference:
    """Compare what two engines' outputs for the same images become under a card: labels, scores and flags."""
    pairs = list(zip(answers(reference, card), answers(compiled, card), strict=True))
    sound = [(ours, theirs) for ours, theirs in pairs if ours and theirs]
    return Difference(
        labels=len(pairs) - sum(ours.label == theirs.label for ours, theirs in sound),
        probability=max(
            (abs(ours.scores[label] - theirs.scores[label]) for ours, theirs in sound for label in card.labels),
            default=0.0,
        ),
        outlier=_outlier_difference(reference, compiled, card),
        flags=sum((UNLIKE_RADIOGRAPHS in ours.flags) != (UNLIKE_RADIOGRAPHS in theirs.flags) for ours, theirs in sound),
    )


def refuse_difference(found: Difference) -> None:
    """Accept a compiled network only if it is the trained one.

    Raises:
        ModelMismatch: A label or flag changes, or a number differs by more than is accepted.
    """
    if not found.accepted:
        raise ModelMismatch(
            f"The compiled network differs from the trained one: {found} (at most {TOLERANCE:g} and "
            f"{OUTLIER_TOLERANCE:g} are accepted). It is not published."
        )


def _outlier_difference(reference: Outputs, compiled: Outputs, card: ModelCard) -> float:
    if card.outlier_threshold is None or reference.outlier_scores is None or compiled.outlier_scores is None:
        return 0.0
    ours, theirs = (np.asarray(each.outlier_scores, dtype=np.float64) for each in (reference, compiled))
    # A picture many times stranger than the threshold may differ by more; only what is near the threshold counts.
    near = ~(np.minimum(ours, theirs) > 2 * card.outlier_threshold)
    return float(np.abs(ours - theirs)[near].max(initial=0.0)) / card.outlier_threshold
