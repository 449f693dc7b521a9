"""The picture of a run: loss and accuracy over epochs, training and validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def draw_curves(rows: Sequence[Mapping[str, Any]], best: int, path: Path) -> None:
    """Draw a run's history into a PNG file.

    Args:
        rows: One per epoch, as in `history.json`.
        best: Index of the row whose network is kept; marked by a line.
        path: Of the PNG.
    """
    # The object interface needs no display and leaves no global state behind.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    epochs = [row["epoch"] for row in rows]
    for axes, name, columns in zip(
        figure.subplots(1, 2),
        ("loss (nats)", "share of images"),
        (("train_loss", "valid_loss"), ("train_accuracy", "valid_accuracy", "valid_macro_f1")),
        strict=True,
    ):
        for column in (column for column in columns if column in rows[0]):
            axes.plot(epochs, [row[column] for row in rows], label=column.replace("_", " "))
        axes.axvline(rows[best]["epoch"], color="grey", linestyle=":", label="kept")
        axes.set_xlabel("epoch")
        axes.set_ylabel(name)
        axes.legend()
    figure.savefig(path, dpi=120)
