"""Which results are wanted: what pages, API and command line pass on."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime

from core.tables import JobStatus, Source


class Order(enum.StrEnum):
    """In which order results are listed."""

    NEWEST = "newest"
    DOUBT = "doubt"  # the least sure answers first; without an answer nothing is listed
    CONFIDENCE = "confidence"  # the surest first; likewise


@dataclass(frozen=True, kw_only=True)
class Filters:
    """Which results are wanted; None does not filter."""

    label: str | None = None
    min_confidence: float | None = None  # 0 to 1
    max_confidence: float | None = None
    status: JobStatus | None = None
    source: Source | None = None
    since: datetime | None = None  # received at or after
    until: datetime | None = None  # received before
    name: str | None = None  # part of the name, in any case
    sha256: str | None = None
    model: str | None = None  # NAME or NAME/VERSION; None: the ten-class model
    submission: int | None = None
    flag: str | None = None  # the answer carries it
    in_set: str | None = None  # the answer's prediction set holds this label
    reviewed: bool | None = None  # a first reading stands
    agreed: bool | None = None  # ... and says what was shown
