"""Where a run stands, read from its history alone; so a resumed run decides exactly as an uninterrupted one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from training.recipe import LAST_EPOCH, Recipe

Row = Mapping[str, Any]


def next_epoch(rows: Sequence[Row], recipe: Recipe) -> tuple[int, int] | None:
    """Return the phase and the epoch within it that come next, both from 0; None when the run has ended.

    Args:
        rows: One per finished epoch, with `phase` (the phase's name) and the monitored figure.
        recipe: Gives phases and patience.
    """
    if not rows:
        return 0, 0
    names = [phase.name for phase in recipe.phases]
    index = names.index(rows[-1]["phase"])
    in_phase = [row for row in rows if row["phase"] == names[index]]
    if len(in_phase) < recipe.phases[index].epochs and not _out_of_patience(in_phase, recipe):
        return index, len(in_phase)
    return (index + 1, 0) if index + 1 < len(names) else None


def best_epoch(rows: Sequence[Row], recipe: Recipe) -> int:
    """Return the index of the row with the best monitored figure; the earlier one of equals.

    Raises:
        ValueError: There is no row.
    """
    if not rows:
        raise ValueError("a run without epochs has no best epoch")
    if recipe.monitor == LAST_EPOCH:
        return len(rows) - 1
    best = 0
    for index, row in enumerate(rows):
        if recipe.better(row[recipe.monitor], rows[best][recipe.monitor]):
            best = index
    return best


def _out_of_patience(in_phase: Sequence[Row], recipe: Recipe) -> bool:
    return len(in_phase) - 1 - best_epoch(in_phase, recipe) >= recipe.patience
