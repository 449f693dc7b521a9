"""Counts that cost the same however many rows there are: triggers keep them, in `migrations/`, so no writer forgets."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    String,
    delete,
    func,
    insert,
    literal,
    select,
    text,
    type_coerce,
    union_all,
)
from sqlalchemy.orm import Session

from core.tables import ArrivalRow, ArrivalStatus, CounterRow, JobRow, JobStatus

#: Appended rows that are added up at once; fewer are not worth it.
_FOLD_FROM, _FOLD_AT_MOST = 100, 10_000
#: Any number that nothing else in the same database uses as an advisory lock.
_RECOUNT_LOCK = 0x46524144


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


def count_differences(session: Session) -> dict[str, int]:
    """Count every row; return by how much each kept count that is wrong falls short of the truth."""
    return {name: int(missing) for name, missing in session.execute(_differences())}


def recount(session: Session) -> None:
    """Make the kept counts equal the truth, while others write and recount. A transaction of its own is needed."""
    if session.get_bind().dialect.name == "sqlite":
        # Nobody else writes meanwhile. Triggers add to the one row of a name, so each name must have exactly one.
        truth = {name: int(count) for name, count in session.execute(_truth())}
        names = [f"jobs {status.value}" for status in JobStatus]
        names += [f"arrivals {status.value}" for status in ArrivalStatus]
        session.execute(delete(CounterRow))
        session.execute(insert(CounterRow), [{"name": name, "change": truth.get(name, 0)} for name in names])
        return
    # One statement sees rows and counts at one moment; the lock keeps a second recount from adding the same again.
    session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _RECOUNT_LOCK})
    session.execute(insert(CounterRow).from_select(["name", "change"], _differences()))


def _truth() -> Select[str, int]:
    """Return the counted rows: table and status, and how many."""

    def counted(table: str, status: ColumnElement[Any]) -> Select[str, int]:
        # Without its type: the words are wanted, whatever they are, also where no enum knows them.
        word = type_coerce(status, String)
        return select((literal(f"{table} ") + word).label("name"), func.count().label("count")).group_by(word)

    both = union_all(counted("jobs", JobRow.__table__.c.status), counted("arrivals", ArrivalRow.__table__.c.status))
    rows = both.subquery()
    return select(rows.c.name, rows.c.count)


def _differences() -> Select[str, int]:
    """Return the names whose kept count is wrong, and what is missing: in one statement, so of one moment."""
    kept = select(CounterRow.name, (-CounterRow.change).label("count"))
    rows = union_all(_truth(), kept).subquery()
    missing = func.sum(rows.c.count)
    return select(rows.c.name, missing).group_by(rows.c.name).having(missing != 0)


def _counts(session: Session) -> dict[str, int]:
    query = select(CounterRow.name, func.sum(CounterRow.change)).group_by(CounterRow.name)
    return {name: int(count) for name, count in session.execute(query)}
