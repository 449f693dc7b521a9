"""From a network's probabilities to an answer: calibrated scores, label, confidence, prediction set, flags."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.bundle import ModelCard
from core.errors import ModelMismatch

#: Set on an answer whose top probability is below the card's threshold: a person should look.
DOUBTFUL = "doubtful"


@dataclass(frozen=True)
class Answer:
    """What a model says of one radiograph. Research and education only, never a diagnosis."""

    label: str  # the class with the highest score
    confidence: float  # its calibrated probability, 0 to 1
    scores: Mapping[str, float]  # every label to its calibrated probability; they sum to 1
    prediction_set: tuple[str, ...]  # labels that cannot be ruled out, most probable first; never empty
    flags: tuple[str, ...]


def answers(probabilities: NDArray[np.floating], card: ModelCard) -> list[Answer | None]:
    """Turn a batch of network outputs into answers, in the same order.

    Args:
        probabilities: (N, classes), as an engine returns them: rows of non-negative numbers that sum to 1.
        card: Gives labels, temperature and thresholds.

    Returns:
        One answer a row; None for a row that holds NaN or does not sum to 1, so that the caller can find the
        culprit without losing its batch mates.

    Raises:
        ModelMismatch: The number of columns is not the number of labels.
    """
    values = np.asarray(probabilities, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] != len(card.labels):
        raise ModelMismatch(
            f"{card.name} {card.version} returned an array of shape {values.shape}, expected (N, {len(card.labels)})."
        )
    sound = np.isfinite(values).all(axis=1) & (values >= 0).all(axis=1) & (np.abs(values.sum(axis=1) - 1) < 1e-3)
    calibrated = calibrate(np.where(sound[:, np.newaxis], values, 1.0), card.temperature)
    return [_answer(row, card) if good else None for row, good in zip(calibrated, sound, strict=True)]


def calibrate(probabilities: NDArray[np.floating], temperature: float) -> NDArray[np.float64]:
    """Divide the logits by `temperature` and normalise again.

    Args:
        probabilities: (N, classes), rows sum to 1.
        temperature: Above 1 makes a network less sure of itself.

    Returns:
        (N, classes) float64, rows sum to 1.

    Source: Guo et al. 2017, On Calibration of Modern Neural Networks. Softmax outputs give the logits up to a
    constant that cancels.
    """
    logits = np.log(np.clip(np.asarray(probabilities, dtype=np.float64), 1e-12, None)) / temperature
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    calibrated: NDArray[np.float64] = exponentials / exponentials.sum(axis=1, keepdims=True)
    return calibrated


def _answer(row: NDArray[np.float64], card: ModelCard) -> Answer:
    order = [int(index) for index in np.argsort(-row, kind="stable")]
    top = float(row[order[0]])
    threshold = card.conformal_threshold
    members = [index for index in order if threshold is not None and row[index] >= threshold] or order[:1]
    doubtful = card.doubt_threshold is not None and top < card.doubt_threshold
    return Answer(
        label=card.labels[order[0]],
        confidence=top,
        scores={label: float(value) for label, value in zip(card.labels, row, strict=True)},
        prediction_set=tuple(card.labels[index] for index in members),
        flags=(DOUBTFUL,) if doubtful else (),
    )
