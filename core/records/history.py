"""What each minute brought, kept for a week, and how fast work goes: from it and from the jobs that ended last.

The reconciler's tick writes a row for each minute that is over. Rates are sums of such rows and counts of the rest, so
that their cost does not grow with the hour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from core.database import insert_ignoring, now
from core.records.counters import job_counts
from core.tables import JobRow, JobStatus, MinuteRow

_MINUTE = timedelta(minutes=1)
_HOUR = timedelta(hours=1)
#: A minute is written this long after its end: a transaction that ended a job in it may be committed a little later.
_GRACE = timedelta(seconds=10)
#: After a pause without ticks the minutes before are made up for, so far back and so many a tick.
_LOOK_BACK, _AT_ONCE = timedelta(hours=6), 60
_KEPT = timedelta(days=7)
#: Jobs of which times and pace are taken, and how far back they may lie.
_SAMPLE, _SAMPLE_REACH = 500, timedelta(minutes=15)
_PACE_REACH = timedelta(minutes=5)


@dataclass(frozen=True)
class Bar:
    """What a stretch of time brought."""

    begin: datetime
    done: int
    failed: int
    known: bool  # somebody looked; False: nothing is known of it


@dataclass(frozen=True)
class Rates:
    """Jobs done a second, over the last minute, five minutes and hour."""

    minute: float
    five_minutes: float
    hour: float


@dataclass(frozen=True)
class Spread:
    """Seconds that half of the jobs stayed below, and 95 of a hundred."""

    p50: float
    p95: float


@dataclass(frozen=True)
class Pace:
    """How work went lately; None: none was done lately."""

    per_second: float | None = None  # while there was work
    waited: Spread | None = None  # from a job's creation to the start of the attempt that answered
    ran: Spread | None = None  # from then to the stored answer


def record_minutes(session: Session) -> int:
    """Write the minutes that are over, remove those that are too old; return how many were written."""
    at = now(session)
    end = _floor(at - _GRACE)
    last = session.scalar(select(func.max(MinuteRow.minute)).where(MinuteRow.minute <= at))
    begin = end - _MINUTE if last is None else max(last + _MINUTE, end - _LOOK_BACK)
    if begin >= end:
        return 0
    rows: list[dict[str, Any]] = []
    while begin < end and len(rows) < _AT_ONCE:
        row = {
            "minute": begin,
            "done": _ended(session, begin, begin + _MINUTE, JobStatus.DONE),
            "failed": _ended(session, begin, begin + _MINUTE, JobStatus.FAILED, JobStatus.QUARANTINED),
            "waiting": job_counts(session)[JobStatus.WAITING] if begin + _MINUTE == end else None,
        }
        rows.append(row)
        begin += _MINUTE
    insert_ignoring(session, MinuteRow, rows)
    # Those ahead were written by a clock that was put back since.
    session.execute(delete(MinuteRow).where((MinuteRow.minute < at - _KEPT) | (MinuteRow.minute > at)))
    return len(rows)


def rates(session: Session, at: datetime) -> Rates:
    """Return how fast jobs get done: whole minutes as they were written, the rest counted."""
    query = select(MinuteRow.minute, MinuteRow.done).where(
        MinuteRow.minute >= _floor(at - _HOUR) + _MINUTE, MinuteRow.minute < _floor(at)
    )
    written: dict[datetime, int] = {row.minute: row.done for row in session.execute(query)}
    unwritten = _ended(session, max(written) + _MINUTE, at, JobStatus.DONE) if written else 0

    def rate(reach: timedelta) -> float:
        since = at - reach
        minutes = [minute for minute in written if minute > since]
        if not minutes:
            return _ended(session, since, at, JobStatus.DONE) / reach.total_seconds()
        before = _ended(session, since, min(minutes), JobStatus.DONE)
        return (before + sum(written[minute] for minute in minutes) + unwritten) / reach.total_seconds()

    return Rates(minute=rate(_MINUTE), five_minutes=rate(5 * _MINUTE), hour=rate(_HOUR))


def pace(session: Session, at: datetime) -> Pace:
    """Return how long the jobs that ended last waited and ran, and how fast they came."""
    rows = session.execute(
        select(JobRow.created_at, JobRow.started_at, JobRow.finished_at)
        .where(JobRow.status == JobStatus.DONE, JobRow.finished_at >= at - _SAMPLE_REACH, JobRow.finished_at <= at)
        .order_by(JobRow.finished_at.desc())
        .limit(_SAMPLE)
    ).all()
    times = [(created, started, ended) for created, started, ended in rows if started is not None and ended is not None]
    if not times:
        return Pace()
    lately = [started for _, started, ended in times if ended >= at - _PACE_REACH]
    seconds = (at - min(lately)).total_seconds() if lately else 0.0
    return Pace(
        per_second=len(lately) / seconds if seconds > 0 else None,
        waited=_spread([(started - created).total_seconds() for created, started, _ in times]),
        ran=_spread([(ended - started).total_seconds() for _, started, ended in times]),
    )


def history(session: Session, *, hours: int, minutes_a_bar: int) -> list[Bar]:
    """Return what the last hours brought, oldest first, without the minute that is not over yet."""
    width = minutes_a_bar * _MINUTE
    end = _floor(now(session), minutes_a_bar) + width
    begin = end - timedelta(hours=hours)
    query = select(MinuteRow.minute, MinuteRow.done, MinuteRow.failed).where(
        MinuteRow.minute >= begin, MinuteRow.minute < end
    )
    bars: dict[datetime, Bar] = {}
    for minute, done, failed in session.execute(query):
        start = begin + ((minute - begin) // width) * width
        bar = bars.get(start, Bar(start, 0, 0, known=True))
        bars[start] = Bar(start, bar.done + done, bar.failed + failed, known=True)
    starts = [begin + number * width for number in range((end - begin) // width)]
    return [bars.get(start, Bar(start, 0, 0, known=False)) for start in starts]


def _ended(session: Session, since: datetime, until: datetime, *statuses: JobStatus) -> int:
    query = select(func.count()).select_from(JobRow)
    wanted = (JobRow.status.in_(statuses), JobRow.finished_at >= since, JobRow.finished_at < until)
    return session.scalar(query.where(*wanted)) or 0


def _floor(at: datetime, minutes: int = 1) -> datetime:
    return at.replace(minute=at.minute - at.minute % minutes, second=0, microsecond=0)


def _spread(seconds: Sequence[float]) -> Spread:
    ordered = sorted(max(0.0, each) for each in seconds)
    last = len(ordered) - 1
    return Spread(p50=ordered[round(0.5 * last)], p95=ordered[round(0.95 * last)])
