"""What models answered and how long it took, added up by the day: for monitors, and to see models drift.

Written in the transaction that stores a batch, so no answer is missing and none counts twice, whichever process on
whichever machine gave it, and no restart sets anything back.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import delete, func, insert, select
from sqlalchemy.orm import Session

from core.answers import Answer
from core.database import append
from core.tables import TallyRow

_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
#: Upper bounds of the histograms' buckets, in seconds. What is longer is counted under "+Inf".
BOUNDS: Mapping[str, tuple[float, ...]] = {
    "waited": (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0),
    "decode": _FAST,
    "infer": _FAST,
    "store": _FAST,
}
BEYOND = "+Inf"
#: Rows that are added up in one turn.
_FOLD_AT_MOST = 5_000


@dataclass
class Spread:
    """Durations of one kind."""

    seconds: float = 0.0  # their sum
    buckets: Counter[str] = field(default_factory=Counter)  # how many by upper bound, each counted once

    def note(self, kind: str, seconds: float) -> None:
        """Count one more."""
        bounds = BOUNDS[kind]
        place = bisect_left(bounds, seconds)
        self.seconds += seconds
        self.buckets[f"{bounds[place]:g}" if place < len(bounds) else BEYOND] += 1

    @property
    def count(self) -> int:
        """How many durations."""
        return self.buckets.total()


@dataclass
class Tally:
    """Answers of one model, added up."""

    answers: int = 0
    confidence: float = 0.0  # sum
    labels: Counter[str] = field(default_factory=Counter)
    flags: Counter[str] = field(default_factory=Counter)
    spreads: dict[str, Spread] = field(default_factory=dict)  # by kind, one of BOUNDS

    def note_answer(self, answer: Answer) -> None:
        """Count one more answer."""
        self.answers += 1
        self.confidence += answer.confidence
        self.labels[answer.label] += 1
        self.flags.update(answer.flags)

    def note_time(self, kind: str, seconds: float) -> None:
        """Count one more duration."""
        self.spreads.setdefault(kind, Spread()).note(kind, seconds)

    def add(self, other: Tally) -> None:
        """Add another's counts to these."""
        self.answers += other.answers
        self.confidence += other.confidence
        self.labels.update(other.labels)
        self.flags.update(other.flags)
        for kind, theirs in other.spreads.items():
            ours = self.spreads.setdefault(kind, Spread())
            ours.seconds += theirs.seconds
            ours.buckets.update(theirs.buckets)

    def document(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return {
            "answers": self.answers,
            "confidence": self.confidence,
            "labels": dict(self.labels),
            "flags": dict(self.flags),
            "times": {kind: {"seconds": each.seconds, **each.buckets} for kind, each in self.spreads.items()},
        }

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Tally:
        """Read what `document` wrote."""
        spreads = {}
        for kind, times in document["times"].items():
            buckets = {bound: count for bound, count in times.items() if bound != "seconds"}
            spreads[kind] = Spread(times["seconds"], Counter(buckets))
        return cls(
            answers=document["answers"],
            confidence=document["confidence"],
            labels=Counter(document["labels"]),
            flags=Counter(document["flags"]),
            spreads=spreads,
        )


def record_tally(session: Session, model_version_id: int, tally: Tally, at: datetime) -> None:
    """Append what one batch adds."""
    row = {"model_version_id": model_version_id, "day": at.date(), "figures": tally.document()}
    append(session, TallyRow, [row])


def fold_tallies(session: Session) -> int:
    """Make one row of each model's day; several at once do not wait for each other. Returns how many rows vanished."""
    crowded = (
        select(TallyRow.model_version_id, TallyRow.day)
        .group_by(TallyRow.model_version_id, TallyRow.day)
        .having(func.count() > 1)
    )
    vanished = 0
    for model_version_id, day in session.execute(crowded).all():
        rows = session.execute(
            select(TallyRow.id, TallyRow.figures)
            .where(TallyRow.model_version_id == model_version_id, TallyRow.day == day)
            .order_by(TallyRow.id)
            .limit(_FOLD_AT_MOST)
            .with_for_update(skip_locked=True)
        ).all()
        if len(rows) < 2:
            continue
        total = _sum(figures for _, figures in rows)
        session.execute(delete(TallyRow).where(TallyRow.id.in_([number for number, _ in rows])))
        session.execute(
            insert(TallyRow), [{"model_version_id": model_version_id, "day": day, "figures": total.document()}]
        )
        vanished += len(rows) - 1
    return vanished


def totals(session: Session) -> dict[int, Tally]:
    """Return everything that each model version ever answered."""
    found: dict[int, Tally] = {}
    for model_version_id, figures in session.execute(select(TallyRow.model_version_id, TallyRow.figures)):
        found.setdefault(model_version_id, Tally()).add(Tally.of(figures))
    return found


def weekly(session: Session, model_version_id: int, *, since: date) -> dict[date, Tally]:
    """Return one model's answers by week, by its Monday, oldest first; weeks without answers are left out."""
    query = select(TallyRow.day, TallyRow.figures).where(
        TallyRow.model_version_id == model_version_id, TallyRow.day >= since
    )
    found: dict[date, Tally] = {}
    for day, figures in session.execute(query.order_by(TallyRow.day)):
        found.setdefault(monday_of(day), Tally()).add(Tally.of(figures))
    return found


def monday_of(day: date) -> date:
    """Return the first day of a day's week."""
    return day - timedelta(days=day.weekday())


def _sum(documents: Iterable[Mapping[str, Any]]) -> Tally:
    total = Tally()
    for document in documents:
        total.add(Tally.of(document))
    return total
