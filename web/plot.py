"""The plot of what the last hours brought, as coordinates of an SVG: no script and no inline style is needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from core.records.history import Bar

#: Units of the drawing, which stretches to the page's width.
HEIGHT, STEP, BAR = 100.0, 10.0, 8.0


@dataclass(frozen=True)
class Rectangle:
    """One bar or a part of it."""

    kind: str  # done, failed or gap
    x: float
    y: float
    height: float


@dataclass(frozen=True)
class Plot:
    """All of it."""

    rectangles: tuple[Rectangle, ...]
    width: float
    most: int  # of jobs in one bar: the height of the drawing
    total: int
    ticks: tuple[datetime, ...]  # evenly along the width, the first and the last at its ends


def plotted(bars: Sequence[Bar]) -> Plot:
    """Lay the bars out, oldest first; what failed stands on what was done."""
    most = max((bar.done + bar.failed for bar in bars), default=0)
    rectangles = []
    for number, bar in enumerate(bars):
        x, scale = number * STEP, HEIGHT / (most or 1)
        if not bar.known:
            rectangles.append(Rectangle("gap", x, HEIGHT - 1, 1))
        for kind, below, count in (("done", 0, bar.done), ("failed", bar.done, bar.failed)):
            if count:
                height = count * scale
                rectangles.append(Rectangle(kind, x, round(HEIGHT - below * scale - height, 2), round(height, 2)))
    quarters = [bars[round(part * (len(bars) - 1) / 3)].begin for part in range(4)] if bars else []
    return Plot(
        rectangles=tuple(rectangles),
        width=len(bars) * STEP,
        most=most,
        total=sum(bar.done + bar.failed for bar in bars),
        ticks=tuple(quarters),
    )
