"""Figures in a sentence, for commands that end with one."""

from __future__ import annotations

from collections.abc import Mapping

_NAMES = {"accuracy": "accuracy", "macro_f1": "macro F1", "top_3_accuracy": "top-3 accuracy", "roc_auc": "ROC AUC"}


def figures_in_words(found: Mapping[str, float]) -> str:
    """Return the main figures of `training.metrics.figures`, those that are there, as `accuracy 0.123, ...`."""
    return ", ".join(f"{words} {found[name]:.3f}" for name, words in _NAMES.items() if name in found)
