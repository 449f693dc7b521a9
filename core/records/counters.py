"""Counts that cost the same however many rows there are: triggers keep them, in `migrations/`, so no writer forgets."""

from __future__ import annotations

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from core.tables import ArrivalStatus, CounterRow, JobStatus

#: Appended rows that are added up at once; fewer are not worth it.
_FOLD_FROM, _FOLD_AT_MOST = 100, 10_000


def job_counts(session: Session) -> dict[JobStatus, int]:
    """Return how many jobs stand at each status."""
    counts = _counts(session)
    return {status: counts.get(f"jobs {status.value}", 0) for status in JobStatus}


def rejected_arrivals(session: Session) -> int:
    """Return how many files were refused at the door."""
    return _counts(session).get(f"arrivals {ArrivalStatus.REJECTED.value}", 0)


def fold(session: Session) -> None:
    """Add up the rows that PostgreSQL's triggers append. Several at once, and writers beside them, do not wait."""
    rows = session.scalars(select(func.count()).select_from(CounterRow)).one()
    if session.get_bind().dialect.name == "sqlite" or rows < _FOLD_FROM:
        return
    session.execute(
        text(
            "WITH gone AS (DELETE FROM counters WHERE id IN"
            " (SELECT id FROM counters ORDER BY id LIMIT :most FOR UPDATE SKIP LOCKED) RETURNING name, change)"
            " INSERT INTO counters (name, change) SELECT name, sum(change) FROM gone GROUP BY name"
        ),
        {"most": _FOLD_AT_MOST},
    )


def _counts(session: Session) -> dict[str, int]:
    query = select(CounterRow.name, func.sum(CounterRow.change)).group_by(CounterRow.name)
    return {name: int(count) for name, count in session.execute(query)}
