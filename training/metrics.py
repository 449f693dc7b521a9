"""Figures of merit from probabilities and true classes, and their bootstrap intervals. Plain NumPy, no TensorFlow."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
Truths = NDArray[np.bool_]

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


def figures(
    probabilities: Floats, targets: Indices, weights: Floats | None = None, *, predicted: Indices | None = None
) -> dict[str, float]:
    """Return the figures of a whole split.

    Macro figures are means over the classes that occur among the targets; `macro_roc_auc` is that of each class
    against all others. With two classes the first is the positive one: the share of it that is found is the
    sensitivity, that of the second the specificity. The Brier score is the mean squared distance between
    probabilities and truth, summed over classes: 0 to 2. Log loss is in nats.

    Args:
        probabilities: (N, classes), rows sum to 1.
        targets: (N,) class indices.
        weights: (N,) how often each image counts; once unless given.
        predicted: (N,) class indices; the most probable class unless given.
    """
    count, classes = probabilities.shape
    counted = np.ones(count) if weights is None else weights
    ranks = np.argsort(-probabilities, axis=1, kind="stable")
    confusion = confusion_matrix(ranks[:, 0] if predicted is None else predicted, targets, classes, counted)
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
        sensitivity, specificity = (float(recall) for recall in by_class["recall"])
        found |= {
            "roc_auc": roc_auc(probabilities[:, 0], targets == 0, counted),
            "sensitivity": sensitivity if present[0] else math.nan,
            "specificity": specificity if present[1] else math.nan,
        }
    else:
        areas = [roc_auc(probabilities[:, each], targets == each, counted) for each in np.flatnonzero(present)]
        found["macro_roc_auc"] = float(np.mean(areas))
    for top in (2, 3):
        if top < classes:
            among = (ranks[:, :top] == targets[:, np.newaxis]).any(axis=1)
            found[f"top_{top}_accuracy"] = float(np.average(among, weights=counted))
    return found


def roc_auc(scores: Floats, positive: Truths, weights: Floats | None = None) -> float:
    """Return the probability that a positive image scores above a negative one; ties count half.

    The same as scikit-learn's `roc_auc_score`, without its checks, which take a hundred times longer: a bootstrap
    asks thousands of times.

    Args:
        scores: (N,) higher means more likely positive.
        positive: (N,) truth.
        weights: (N,) how often each image counts; once unless given.

    Returns:
        0 to 1; NaN if one kind is missing.
    """
    counted = np.ones(len(scores)) if weights is None else weights
    _, level = np.unique(scores, return_inverse=True)
    above, below = (np.bincount(level, counted * kind) for kind in (positive, ~positive))
    pairs = above.sum() * below.sum()
    return float((above * (np.cumsum(below) - below / 2)).sum() / pairs) if pairs else math.nan


def expected_calibration_error(confidence: Floats, hits: Truths, bins: int = ECE_BINS) -> float:
    """Return the mean distance between confidence and accuracy, 0 to 1.

    Args:
        confidence: (N,) probability of the label that was given.
        hits: (N,) whether it was right.
        bins: Images are sorted by confidence and cut into so many parts of equal size (one image more or less), so
            that every part is measured equally well.

    Source: Nguyen and O'Connor 2015, Posterior calibration.
    """
    parts = equal_mass_bins(confidence, bins)
    return float(sum(len(part) * abs(confidence[part].mean() - hits[part].mean()) for part in parts) / len(hits))


def equal_mass_bins(confidence: Floats, bins: int = ECE_BINS) -> list[Indices]:
    """Return the indices of the images in each bin, least confident first; no more bins than images."""
    return np.array_split(np.argsort(confidence, kind="stable"), min(bins, len(confidence)))


def perfect_ece(
    confidence: Floats, *, draws: int = BOOTSTRAP_DRAWS, seed: int = BOOTSTRAP_SEED, bins: int = ECE_BINS
) -> tuple[float, float]:
    """Return the mean and the 95th percentile of the calibration error of a perfectly calibrated model.

    Even that one shows an error above 0, the more the fewer images there are. Here each answer is right with exactly
    the probability that its confidence states, so that a measured error below the 95th percentile is no evidence
    of miscalibration.

    Args:
        confidence: (N,) the real model's.
        draws: How many splits are simulated.
        seed: Of the simulation.
        bins: As for the real error.
    """
    drawn = np.random.default_rng(seed).random((draws, len(confidence))) < confidence
    errors = np.zeros(draws)
    for part in equal_mass_bins(confidence, bins):
        errors += len(part) / len(confidence) * np.abs(confidence[part].mean() - drawn[:, part].mean(axis=1))
    return float(errors.mean()), float(np.percentile(errors, 95))


def binomial_interval(successes: int, trials: int) -> tuple[float, float]:
    """Return the exact 95 % interval (Clopper and Pearson 1934) of a share; it takes the trials as independent."""
    interval = binomtest(successes, trials).proportion_ci(0.95, method="exact")
    return float(interval.low), float(interval.high)


def cluster_intervals(
    compute: Callable[[Floats], dict[str, float]], clusters: Sequence[str], *, draws: int = BOOTSTRAP_DRAWS
) -> dict[str, tuple[float, float]]:
    """Return 95 % intervals: the 2.5th and 97.5th percentile over resampled clusters.

    Images of one source are alike, so whole clusters are drawn with replacement, not single images. The seed is
    fixed: the same input gives the same interval. Draws in which a figure has no value (no positive image, say) do
    not count for it.

    Args:
        compute: Takes (N,) how often each image counts and returns figures.
        clusters: (N,) sources.
        draws: How many.
    """
    _, cluster_of = np.unique(np.asarray(clusters), return_inverse=True)
    number = int(cluster_of.max()) + 1
    generator = np.random.default_rng(BOOTSTRAP_SEED)
    results = []
    for _ in range(draws):
        times_drawn = np.bincount(generator.integers(number, size=number), minlength=number)
        results.append(compute(times_drawn[cluster_of].astype(np.float64)))
    intervals = {}
    for name in results[0]:
        values = np.array([result[name] for result in results])
        low, high = np.percentile(values[~np.isnan(values)], [2.5, 97.5]) if not np.isnan(values).all() else (0.0, 1.0)
        intervals[name] = (float(low), float(high))
    return intervals


def _of_truth(probabilities: Floats, targets: Indices) -> Floats:
    return probabilities[np.arange(len(targets)), targets]


def _ratio(above: Floats, below: Floats) -> Floats:
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)
