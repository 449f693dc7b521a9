"""Figures as text, for the terminal and for a bundle's README."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Names in the order in which they are shown.
NAMES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_precision": "macro precision",
    "macro_recall": "macro recall",
    "macro_f1": "macro F1",
    "top_2_accuracy": "top-2 accuracy",
    "top_3_accuracy": "top-3 accuracy",
    "brier": "Brier score (0 to 2)",
    "log_loss": "log loss (nats)",
    "ece": "expected calibration error",
    "mean_confidence": "mean confidence",
}


def figures_table(figures: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return (name, value, 95 % interval) as text for each figure of an evaluation; no interval is an empty text."""
    rows = []
    for name, shown in NAMES.items():
        if name in figures:
            ends = figures["intervals_95"].get(name)
            rows.append((shown, f"{figures[name]:.4f}", f"{ends[0]:.4f} to {ends[1]:.4f}" if ends else ""))
    return rows


def as_text(figures: Mapping[str, Any]) -> str:
    """Return an evaluation's figures for a terminal: totals, classes, confusion matrix."""
    lines = [
        f"{figures['split']}: {figures['images']} images of {figures['clusters']} sources, "
        f"data {figures['data_sha256'][:12]}",
        "",
        f"{'':28}{'value':>8}  95 % interval (bootstrap over sources)",
    ]
    lines += [f"{name:28}{value:>8}  {interval}".rstrip() for name, value, interval in figures_table(figures)]
    lines += ["", f"{'':22}{'images':>7}{'precision':>11}{'recall':>8}{'F1':>8}"]
    lines += [
        f"{label:22}{row['images']:>7}{row['precision']:>11.4f}{row['recall']:>8.4f}{row['f1']:>8.4f}"
        for label, row in figures["per_class"].items()
    ]
    return "\n".join([*lines, "", *_confusion_lines(figures["confusion_matrix"])])


def _confusion_lines(confusion: Mapping[str, Any]) -> list[str]:
    labels, counts = confusion["labels"], confusion["counts"]
    head = "".join(f"{label[:5]:>7}" for label in labels)
    lines = [f"{'true, predicted:':22}{head}"]
    return lines + [
        f"{label:22}" + "".join(f"{count or '.':>7}" for count in row)
        for label, row in zip(labels, counts, strict=True)
    ]
