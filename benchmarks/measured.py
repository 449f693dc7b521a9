"""Measured values and what they say: medians, spread, ratios made within one round.

Machines are noisy and change speed by the minute. So contestants take turns, round by round, and a ratio is formed
within each round before the median is taken; times of different runs are never compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

import pyperf


@dataclass(frozen=True)
class Measured:
    """One figure, measured once a round."""

    name: str
    unit: str
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle value."""
        return median(self.values)

    def shown(self, digits: int = 1) -> str:
        """Return median and range, as in `141.2 (138.0-143.9)`."""
        low, high = min(self.values), max(self.values)
        return f"{self.median:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"

    def document(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return {"unit": self.unit, "median": self.median, "values": list(self.values)}


def ratio(name: str, above: Measured, below: Measured) -> Measured:
    """Return one figure relative to another, round by round."""
    pairs = zip(above.values, below.values, strict=True)
    return Measured(name, "ratio", tuple(one / other for one, other in pairs))


@dataclass(frozen=True)
class Part:
    """One section of the benchmark: a table, and the same for programs."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]
    figures: Mapping[str, Measured]

    def document(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return {
            "title": self.title,
            "figures": {name: figure.document() for name, figure in self.figures.items()},
            "notes": list(self.notes),
        }


def machine() -> dict[str, Any]:
    """Describe the machine and this interpreter, as pyperf sees them."""
    wanted = ("cpu_model_name", "cpu_count", "cpu_affinity", "platform", "python_version", "load_avg_1min", "mem_total")
    found = pyperf.Run([1.0], collect_metadata=True).get_metadata()
    return {name: found[name] for name in wanted if name in found}
