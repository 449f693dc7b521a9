"""From a network's outputs to an answer: calibrated scores, label, confidence, prediction set, flags.

With a decision threshold on the card (the binary question) the label is not the most probable class: a fracture missed
costs more than a radiograph looked at in vain, so "fractured" is the answer from a probability well below one half on.
The confidence stays the calibrated probability of the label that is shown; below one half it says just that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from core.activation import packed
from core.bundle import ModelCard
from core.engines.outputs import Outputs
from core.errors import ModelMismatch

#: Set on an answer that the card's `doubt` counts as unsure: a person should look.
DOUBTFUL = "doubtful"
#: Set when the network's outlier score is above the card's threshold: perhaps no radiograph at all.
UNLIKE_RADIOGRAPHS = "unlike-radiographs"


@dataclass(frozen=True)
class Answer:
    """What a model says of one radiograph. Research and education only, never a diagnosis."""

    label: str  # the most probable class, or with two classes what the decision threshold says
    confidence: float  # the label's calibrated probability, 0 to 1
    scores: Mapping[str, float]  # every label to its calibrated probability; they sum to 1
    prediction_set: tuple[str, ...]  # what cannot be ruled out, most probable first; the label is always in it
    flags: tuple[str, ...]
    activation: bytes | None = None  # what in the picture spoke for the label; see `core.activation`


def answers(outputs: Outputs, card: ModelCard) -> list[Answer | None]:
    """Turn a batch of network outputs into answers, in the same order.

    Args:
        outputs: As an engine returns them.
        card: Gives labels, temperature and thresholds.

    Returns:
        One answer a row; None for a row that holds NaN or does not sum to 1, so that the caller can find the
        culprit without losing its batch mates.

    Raises:
        ModelMismatch: The number of columns is not the number of labels.
    """
    values = np.asarray(outputs.probabilities, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] != len(card.labels):
        raise ModelMismatch(
            f"{card.name} {card.version} returned an array of shape {values.shape}, expected (N, {len(card.labels)})."
        )
    sound = np.isfinite(values).all(axis=1) & (values >= 0).all(axis=1) & (np.abs(values.sum(axis=1) - 1) < 1e-3)
    calibrated = calibrate(np.where(sound[:, np.newaxis], values, 1.0), card.temperature, card.shift)
    strange = _strange(outputs, card)
    maps = [None] * len(values) if outputs.activations is None else outputs.activations
    return [
        _answer(row, card, odd, each) if good else None
        for row, good, odd, each in zip(calibrated, sound, strange, maps, strict=True)
    ]


def with_words(answer: Answer, words: Sequence[str]) -> Answer:
    """Say first why the answer means nothing: the words of `core.plausibility` come before the network's own flags."""
    return replace(answer, flags=(*words, *answer.flags)) if words else answer


def calibrate(probabilities: NDArray[np.floating], temperature: float, shift: float = 0.0) -> NDArray[np.float64]:
    """Divide the logits by `temperature`, add `shift` to the first class's, and normalise again.

    Args:
        probabilities: (N, classes), rows sum to 1.
        temperature: Above 1 makes a network less sure of itself.
        shift: Above 0 makes the first class likelier everywhere; in nats.

    Returns:
        (N, classes) float64, rows sum to 1.

    Source: Guo et al. 2017, On Calibration of Modern Neural Networks; with a shift and two classes this is Platt 1999,
    Probabilistic Outputs for Support Vector Machines. Softmax outputs give the logits up to a constant that cancels.
    """
    logits = np.log(np.clip(np.asarray(probabilities, dtype=np.float64), 1e-12, None)) / temperature
    logits[:, 0] += shift
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    calibrated: NDArray[np.float64] = exponentials / exponentials.sum(axis=1, keepdims=True)
    return calibrated


def _answer(row: NDArray[np.float64], card: ModelCard, strange: bool, maps: NDArray[np.floating] | None) -> Answer:
    order = [int(index) for index in np.argsort(-row, kind="stable")]
    chosen = order[0] if card.decision_threshold is None else int(row[0] < card.decision_threshold)
    threshold = card.conformal_threshold
    members = [index for index in order if index == chosen or (threshold is not None and row[index] >= threshold)]
    flags = ((DOUBTFUL, _doubtful(row, card)), (UNLIKE_RADIOGRAPHS, strange))
    return Answer(
        label=card.labels[chosen],
        confidence=float(row[chosen]),
        scores={label: float(value) for label, value in zip(card.labels, row, strict=True)},
        prediction_set=tuple(card.labels[index] for index in members),
        flags=tuple(flag for flag, raised in flags if raised),
        activation=None if maps is None else packed(maps[:, :, chosen]),
    )


def _doubtful(row: NDArray[np.float64], card: ModelCard) -> bool:
    if card.doubt_band is not None:
        low, high = card.doubt_band
        return bool(low <= row[0] < high)
    return card.doubt_threshold is not None and bool(row.max() < card.doubt_threshold)


def _strange(outputs: Outputs, card: ModelCard) -> list[bool]:
    if card.outlier_threshold is None or outputs.outlier_scores is None:
        return [False] * len(outputs.probabilities)
    # Written so that NaN counts as strange.
    return [not score <= card.outlier_threshold for score in outputs.outlier_scores.tolist()]
