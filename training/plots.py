"""Pictures of an evaluation, as PNG. Matplotlib's object interface: no display, no global state."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.judged import Judged
from training.metrics import Indices, Truths, equal_mass_bins

#: Chooses the pictures that are shown.
SAMPLE_SEED = 7
_COLUMNS, _ROWS = 4, 3
_DPI = 110
_BLUE, _RED, _GREY = "#1f5f99", "#a33a2c", "#777777"


def confusion_picture(judged: Judged) -> bytes:
    """Draw how often each true class (row) was given each label (column); shades are shares of the row."""
    figure, axes = _figure(1.6 + 0.5 * len(judged.labels), 1.2 + 0.45 * len(judged.labels))
    counts = np.zeros((len(judged.labels), len(judged.labels)), dtype=np.int64)
    np.add.at(counts, (judged.targets, judged.predicted), 1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        colour = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=8)
    axes.set_xticks(range(len(judged.labels)), judged.labels, rotation=45, ha="right", fontsize=8)
    axes.set_yticks(range(len(judged.labels)), judged.labels, fontsize=8)
    axes.set_xlabel("answer")
    axes.set_ylabel("truth")
    return _png(figure)


def reliability_picture(judged: Judged) -> bytes:
    """Draw the share of right answers against confidence, in the bins of the calibration error."""
    figure, axes = _figure(4.6, 4.2)
    confidence, hits = judged.confidence, judged.hits
    parts = equal_mass_bins(confidence)
    axes.plot([0, 1], [0, 1], color=_GREY, linestyle=":", label="perfect")
    axes.plot(
        [confidence[part].mean() for part in parts],
        [hits[part].mean() for part in parts],
        "o-",
        color=_BLUE,
        label=f"{len(parts)} bins of equal size",
    )
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="mean confidence", ylabel="share of right answers")
    axes.legend(loc="upper left")
    return _png(figure)


def confidence_picture(judged: Judged) -> bytes:
    """Draw how often each confidence occurs, for right and for wrong answers."""
    figure, axes = _figure(4.6, 4.2)
    axes.hist(
        [judged.confidence[judged.hits], judged.confidence[~judged.hits]],
        bins=np.linspace(0, 1, 21),
        stacked=True,
        color=[_BLUE, _RED],
        label=["right", "wrong"],
    )
    axes.set(xlim=(0, 1), xlabel="confidence", ylabel="images")
    axes.legend()
    return _png(figure)


def roc_picture(judged: Judged) -> bytes:
    """Draw the ROC curve of the first of two classes, and the point where the bundle's answers lie."""
    from sklearn.metrics import roc_curve

    figure, axes = _figure(4.6, 4.2)
    positive = judged.targets == 0
    wrong, found, _ = roc_curve(positive, judged.scores[:, 0])
    axes.plot([0, 1], [0, 1], color=_GREY, linestyle=":")
    axes.plot(wrong, found, color=_BLUE, label="all thresholds")
    said = judged.predicted == 0
    axes.plot([said[~positive].mean()], [said[positive].mean()], "o", color=_RED, label="the bundle's threshold")
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="1 - specificity", ylabel=f"sensitivity ({judged.labels[0]})")
    axes.legend(loc="lower right")
    return _png(figure)


def samples_picture(judged: Judged, images: NDArray[np.uint8]) -> bytes:
    """Draw some images with truth, answer and confidence: half of them answered rightly, as far as there are any.

    Args:
        judged: The answers.
        images: (N, side, side, channels) uint8, as the network saw them.
    """
    from matplotlib.figure import Figure

    chosen = choose_samples(judged.hits)
    rows = -(-len(chosen) // _COLUMNS)
    figure = Figure(figsize=(2.1 * _COLUMNS, 2.6 * rows), layout="constrained")
    for place in range(rows * _COLUMNS):
        axes = figure.add_subplot(rows, _COLUMNS, place + 1)
        axes.set_axis_off()
        if place < len(chosen):
            index = chosen[place]
            axes.imshow(images[index, :, :, 0], cmap="gray", vmin=0, vmax=255)
            axes.set_title(
                f"truth: {judged.labels[judged.targets[index]]}\n"
                f"{judged.labels[judged.predicted[index]]} {judged.confidence[index]:.2f}",
                fontsize=8,
                color=_BLUE if judged.hits[index] else _RED,
            )
    return _png(figure)


def choose_samples(hits: Truths) -> Indices:
    """Return the indices of the images that are shown: the same ones for the same answers."""
    generator = np.random.default_rng(SAMPLE_SEED)
    right, wrong = (generator.permutation(np.flatnonzero(kind)) for kind in (hits, ~hits))
    half = _COLUMNS * _ROWS // 2
    share = max(half, _COLUMNS * _ROWS - len(wrong)), max(half, _COLUMNS * _ROWS - len(right))
    return np.sort(np.concatenate([right[: share[0]], wrong[: share[1]]]))


def _figure(width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def _png(figure: Any) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=_DPI, metadata={"Software": None})
    return stream.getvalue()
