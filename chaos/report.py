"""What chaos found, as text and as JSON types."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from chaos.matrix import Row
from chaos.soak import Soaked

_HEAD = ("fault", "back end", "struck", "given", "lost", "doubled", "altered", "s to recover (median, range)")


def left_out_line(names: Sequence[str]) -> str:
    """Return a sentence about the faults that cannot strike here."""
    return f"Left out, because no file system can be mounted here: {', '.join(names)}."


def matrix_lines(rows: Sequence[Row]) -> Iterator[str]:
    """Yield a Markdown table of the faults."""
    yield "| " + " | ".join(_HEAD) + " |"
    yield "|---|---|" + "---:|" * (len(_HEAD) - 2)
    for row in rows:
        spread = f"{row.recovery:.1f} ({min(row.seconds):.1f}-{max(row.seconds):.1f})"
        cells = (row.fault, row.back_end, row.struck, row.given, row.lost, row.doubled, row.altered, spread)
        yield "| " + " | ".join(str(cell) for cell in cells) + " |"


def soak_lines(soaked: Soaked) -> Iterator[str]:
    """Yield what a soak did and found, in sentences."""
    verdict = soaked.verdict
    minutes = soaked.seconds / 60
    yield f"{minutes:.1f} minutes, seed {soaked.seed}: {verdict.given} radiographs, {len(soaked.faults)} faults."
    yield (
        f"{verdict.lost} lost, {verdict.doubled} doubled, {verdict.altered} altered originals, "
        f"{verdict.left} files left behind."
    )
    for fault, count in Counter(soaked.faults).most_common():
        yield f"  {count:3d} x {fault}"


def document(soaked: Soaked | None, rows: Sequence[Row], left_out: Sequence[str]) -> dict[str, Any]:
    """Return it as JSON types."""
    return {
        "left_out": list(left_out),
        "soak": None
        if soaked is None
        else {
            **vars(soaked.verdict),
            "clean": soaked.verdict.is_clean,
            "faults": list(soaked.faults),
            "seed": soaked.seed,
            "seconds": soaked.seconds,
        },
        "matrix": [
            {**vars(row), "seconds": list(row.seconds), "struck": row.struck, "recovery": row.recovery} for row in rows
        ],
    }
