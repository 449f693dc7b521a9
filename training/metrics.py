"""Figures of merit from probabilities and true classes, and their bootstrap intervals. Plain NumPy, no TensorFlow."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

ECE_BINS = 10
#: Our choice: the ends of a 95 % interval move by less than half a point between seeds.
BOOTSTRAP_DRAWS = 2000
BOOTSTRAP_SEED = 20


def confusion_matrix(predicted: Indices, targets: Indices, classes: int, weights: Floats | None = None) -> Floats:
    """Count images by true class (rows) and predicted class (columns).

    Args:
        predicted: (N,) class indices.
        targets: (N,) class indices.
        classes: Number of classes.
        weights: (N,) how often each image counts; once unless given.

    Returns:
        (classes, classes) float64.
    """
    counts = np.bincount(targets * classes + predicted, weights=weights, minlength=classes * classes)
    return counts.astype(np.float64).reshape(classes, classes)


def class_figures(confusion: Floats) -> dict[str, Floats]:
    """Return precision, recall and F1, (classes,) each; 0 where nothing was predicted or nothing is true."""
    hits = np.diag(confusion)
    precision = _ratio(hits, confusion.sum(axis=0))
    recall = _ratio(hits, confusion.sum(axis=1))
    return {"precision": precision, "recall": recall, "f1": _ratio(2 * precision * recall, precision + recall)}


def figures(probabilities: Floats, targets: Indices, weights: Floats | None = None) -> dict[str, float]:
    """Return the figures of a whole split.

    Macro figures are means over the classes that occur among the targets. The Brier score is the mean squared
    distance between probabilities and truth, summed over classes: 0 to 2. Log loss is in nats.

    Args:
        probabilities: (N, classes), rows sum to 1.
        targets: (N,) class indices.
        weights: (N,) how often each image counts; once unless given.
    """
    count, classes = probabilities.shape
    counted = np.ones(count) if weights is None else weights
    ranks = np.argsort(-probabilities, axis=1, kind="stable")
    confusion = confusion_matrix(ranks[:, 0], targets, classes, counted)
    by_class = class_figures(confusion)
    present = confusion.sum(axis=1) > 0
    distance = ((probabilities - np.eye(classes)[targets]) ** 2).sum(axis=1)
    found = {
        "accuracy": float(np.diag(confusion).sum() / confusion.sum()),
        "balanced_accuracy": float(by_class["recall"][present].mean()),
        "macro_precision": float(by_class["precision"][present].mean()),
        "macro_recall": float(by_class["recall"][present].mean()),
        "macro_f1": float(by_class["f1"][present].mean()),
        "brier": float(np.average(distance, weights=counted)),
        "log_loss": float(np.average(-np.log(np.clip(_of_truth(probabilities, targets), 1e-12, 1)), weights=counted)),
    }
    if classes == 2:
        found["roc_auc"] = roc_auc(probabilities[:, 0], targets == 0, counted)
    for top in (2, 3):
        if top < classes:
            among = (ranks[:, :top] == targets[:, np.newaxis]).any(axis=1)
            found[f"top_{top}_accuracy"] = float(np.average(among, weights=counted))
    return found


def roc_auc(scores: Floats, positive: NDArray[np.bool_], weights: Floats | None = None) -> float:
    """Return the probability that a positive image scores above a negative one; ties count half.

    Args:
        scores: (N,) higher means more likely positive.
        positive: (N,) truth.
        weights: (N,) how often each image counts; once unless given.

    Returns:
        0 to 1; NaN if one kind is missing.
    """
    counted = np.ones(len(scores)) if weights is None else weights
    if not counted[positive].any() or not counted[~positive].any():
        return math.nan
    return float(roc_auc_score(positive, scores, sample_weight=counted))


def expected_calibration_error(probabilities: Floats, targets: Indices, bins: int = ECE_BINS) -> float:
    """Return the mean distance between confidence and accuracy, 0 to 1.

    Images are sorted by confidence and cut into `bins` parts of equal size (one image more or less), so that every
    part is measured equally well. Source: Nguyen and O'Connor 2015, Posterior calibration.
    """
    confidence = probabilities.max(axis=1)
    hit = probabilities.argmax(axis=1) == targets
    parts = np.array_split(np.argsort(confidence, kind="stable"), min(bins, len(targets)))
    return float(sum(len(part) * abs(confidence[part].mean() - hit[part].mean()) for part in parts) / len(targets))


def bootstrap_intervals(
    probabilities: Floats, targets: Indices, clusters: Sequence[str], *, draws: int = BOOTSTRAP_DRAWS
) -> dict[str, tuple[float, float]]:
    """Return the 95 % interval of each of `figures`: the 2.5th and 97.5th percentile over resampled clusters.

    Images of one source are alike, so whole clusters are drawn with replacement, not single images. The seed is
    fixed: the same input gives the same interval.
    """
    _, cluster_of = np.unique(np.asarray(clusters), return_inverse=True)
    number = int(cluster_of.max()) + 1
    generator = np.random.default_rng(BOOTSTRAP_SEED)
    results = []
    for _ in range(draws):
        times_drawn = np.bincount(generator.integers(number, size=number), minlength=number)
        results.append(figures(probabilities, targets, times_drawn[cluster_of].astype(np.float64)))
    return {
        name: (
            float(np.percentile([result[name] for result in results], 2.5)),
            float(np.percentile([result[name] for result in results], 97.5)),
        )
        for name in results[0]
    }


def _of_truth(probabilities: Floats, targets: Indices) -> Floats:
    return probabilities[np.arange(len(targets)), targets]


def _ratio(above: Floats, below: Floats) -> Floats:
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)
