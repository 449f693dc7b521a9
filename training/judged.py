"""A model's answers on labelled images, as arrays, and the figures made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.answers import DOUBTFUL, UNLIKE_RADIOGRAPHS, Answer
from core.bundle import ModelCard
from training.metrics import (
    Floats,
    Indices,
    Truths,
    binomial_interval,
    class_figures,
    cluster_intervals,
    confusion_matrix,
    expected_calibration_error,
    figures,
    perfect_ece,
)

#: Decimals of every printed figure. Engines and processors differ from about the seventh on.
DECIMALS = 4


@dataclass(frozen=True)
class Judged:
    """One row for each image."""

    labels: tuple[str, ...]
    scores: Floats  # (N, classes) calibrated probabilities
    predicted: Indices  # (N,) the label that was given
    members: Truths  # (N, classes) what the prediction set holds
    doubtful: Truths  # (N,) flagged: a person should look
    strange: Truths  # (N,) flagged: unlike radiographs
    targets: Indices  # (N,) the truth
    clusters: tuple[str, ...]  # (N,) sources

    @classmethod
    def of(cls, answers: Sequence[Answer], card: ModelCard, targets: Indices, clusters: Sequence[str]) -> Judged:
        """Gather answers."""
        labels = card.labels
        return cls(
            labels=labels,
            scores=np.array([[answer.scores[label] for label in labels] for answer in answers], dtype=np.float64),
            predicted=np.array([labels.index(answer.label) for answer in answers], dtype=np.int64),
            members=np.array([[label in answer.prediction_set for label in labels] for answer in answers]),
            doubtful=np.array([DOUBTFUL in answer.flags for answer in answers]),
            strange=np.array([UNLIKE_RADIOGRAPHS in answer.flags for answer in answers]),
            targets=targets,
            clusters=tuple(clusters),
        )

    @property
    def confidence(self) -> Floats:
        """The calibrated probability of the label that was given, (N,)."""
        return self.scores[np.arange(len(self.targets)), self.predicted]

    @property
    def hits(self) -> Truths:
        """Whether that label is the true one, (N,)."""
        return np.asarray(self.predicted == self.targets)

    @property
    def covered(self) -> Truths:
        """Whether the prediction set holds the true label, (N,)."""
        return np.asarray(self.members[np.arange(len(self.targets)), self.targets])

    def take(self, indices: Indices | Truths) -> Judged:
        """Return some of the images."""
        rows = {name: value[indices] for name, value in vars(self).items() if isinstance(value, np.ndarray)}
        return Judged(labels=self.labels, clusters=tuple(np.asarray(self.clusters)[indices].tolist()), **rows)


def all_figures(judged: Judged, card: ModelCard) -> dict[str, Any]:
    """Return everything that a report and a card show of a split, rounded to DECIMALS."""
    confusion = confusion_matrix(judged.predicted, judged.targets, len(judged.labels))
    by_class = class_figures(confusion)
    error, limit = perfect_ece(judged.confidence)
    accuracy, confidence = float(judged.hits.mean()), float(judged.confidence.mean())
    found = {
        **figures(judged.scores, judged.targets, predicted=judged.predicted),
        "mean_confidence": confidence,
        "confidence_gap": abs(confidence - accuracy),
        "ece": expected_calibration_error(judged.confidence, judged.hits),
        # What a perfectly calibrated model of these confidences shows on so many images.
        "ece_if_perfect": {"mean": error, "percentile_95": limit},
        "intervals_95": _intervals(judged),
        "per_class": {
            label: {"images": int(confusion[index].sum())}
            | {name: float(values[index]) for name, values in by_class.items()}
            for index, label in enumerate(judged.labels)
        },
        # Rows are true classes, columns predicted ones, both in the order of the labels.
        "confusion_matrix": {"labels": list(judged.labels), "counts": confusion.astype(int).tolist()},
        **_set_figures(judged, card),
        **_flag_figures(judged, card),
    }
    return dict(rounded(found))


def short_figures(judged: Judged) -> dict[str, Any]:
    """Return the figures of a part of a split, rounded to DECIMALS."""
    found = {
        "images": len(judged.targets),
        "clusters": len(set(judged.clusters)),
        "per_class_images": {label: int((judged.targets == index).sum()) for index, label in enumerate(judged.labels)},
        **figures(judged.scores, judged.targets, predicted=judged.predicted),
        "intervals_95": _intervals(judged),
    }
    return dict(rounded(found))


def rounded(value: Any) -> Any:
    """Round every float inside a JSON document to DECIMALS; NaN, a figure without a value, becomes None."""
    if isinstance(value, float):
        return None if np.isnan(value) else round(value, DECIMALS)
    if isinstance(value, Mapping):
        return {key: rounded(inner) for key, inner in value.items()}
    return [rounded(inner) for inner in value] if isinstance(value, list | tuple) else value


def _intervals(judged: Judged) -> dict[str, list[float]]:
    sizes, covered = judged.members.sum(axis=1), judged.covered

    def compute(weights: Floats) -> dict[str, float]:
        return {
            **figures(judged.scores, judged.targets, weights, predicted=judged.predicted),
            "mean_confidence": float(np.average(judged.confidence, weights=weights)),
            "set_coverage": float(np.average(covered, weights=weights)),
            "set_mean_size": float(np.average(sizes, weights=weights)),
        }

    return {name: list(ends) for name, ends in cluster_intervals(compute, judged.clusters).items()}


def _set_figures(judged: Judged, card: ModelCard) -> dict[str, Any]:
    if card.conformal_threshold is None:
        return {}
    conformal, covered = card.document["conformal"], judged.covered
    return {
        "prediction_sets": {
            "coverage_stated": conformal.get("coverage"),
            "coverage": float(covered.mean()),
            # As if images were independent; that over sources is among the intervals, as `set_coverage`.
            "coverage_interval_95_binomial": list(binomial_interval(int(covered.sum()), len(covered))),
            "mean_size": float(judged.members.sum(axis=1).mean()),
            "size_from_frequencies": conformal.get("size_from_frequencies"),
        }
    }


def _flag_figures(judged: Judged, card: ModelCard) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if card.doubt_threshold is not None or card.doubt_band is not None:
        found["needs_a_human"] = {
            "share": float(judged.doubtful.mean()),
            "accuracy_flagged": _accuracy(judged, judged.doubtful),
            "accuracy_others": _accuracy(judged, ~judged.doubtful),
        }
    if card.outlier_threshold is not None:
        found["unlike_radiographs"] = {"share": float(judged.strange.mean())}
    return found


def _accuracy(judged: Judged, chosen: Truths) -> float | None:
    return float(judged.hits[chosen].mean()) if chosen.any() else None
