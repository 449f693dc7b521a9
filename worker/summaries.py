"""SUMMARY.csv: the answer to an archive or a folder, beside it."""

from __future__ import annotations

import csv
import os
import secrets
from collections.abc import Sequence
from dataclasses import astuple, fields
from pathlib import Path

from core.export import formula_safe
from core.records.summaries import SummaryRow
from worker.moving import shortened

_SUFFIX = ".SUMMARY.csv"


def summary_of(beside: Path) -> Path:
    """Return where the answer to an archive or a folder lies."""
    return beside.with_name(shortened(beside.name, 255 - len(_SUFFIX)) + _SUFFIX)


def write_summary(beside: Path, rows: Sequence[SummaryRow]) -> Path:
    """Write `NAME.SUMMARY.csv` beside an archive or a folder, whole or not at all; an earlier one is replaced.

    Returns:
        Its path.

    Raises:
        OSError: It cannot be written.
    """
    target = summary_of(beside)
    temporary = target.with_name(f".{secrets.token_hex(8)}.tmp")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with temporary.open("x", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow([field.name for field in fields(SummaryRow)])
            for row in rows:
                writer.writerow([formula_safe(cell) for cell in astuple(row)])
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    return target
