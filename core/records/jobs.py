"""What people and the bell do with jobs outside a claim: retry, cancel, and knowing which were announced."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, CursorResult, Row, Update, and_, case, exists, func, or_, select, update
from sqlalchemy.orm import Session

from core.database import now
from core.errors import OriginalDeleted
from core.records.claims import LONGEST_PAUSE_SECONDS
from core.records.events import Event, record_events
from core.tables import ENDED, ArrivalRadiographRow, ArrivalRow, JobRow, JobStatus, RadiographRow

#: Times that lie further ahead were written by a clock that was put back since. Less may be a writer who had to wait
#: (SQLite's wait half a minute) after they had looked at the clock.
_AHEAD = timedelta(minutes=1)
_LONGEST_PAUSE = timedelta(seconds=LONGEST_PAUSE_SECONDS)
RETRYABLE = (JobStatus.FAILED, JobStatus.QUARANTINED, JobStatus.CANCELLED)


def waiting_job(radiograph_id: int, model_version_id: int, *, priority: int, at: datetime) -> dict[str, Any]:
    """Return the row of a job that nobody has begun, for an insert."""
    return {
        "radiograph_id": radiograph_id,
        "model_version_id": model_version_id,
        "status": JobStatus.WAITING,
        "priority": priority,
        "attempts": 0,
        "deaths": 0,
        "deaths_alone": 0,
        "alone": False,
        "available_at": at,
        "created_at": at,
    }


def retry_jobs(
    session: Session,
    *,
    actor: str,
    radiograph_ids: Sequence[int] | None = None,
    code: str | None = None,
    before: datetime | None = None,
    limit: int | None = None,
) -> list[int]:
    """Send jobs that failed, were quarantined or cancelled back to waiting, with a clean record of attempts.

    Those that wait in a pause after a passing cause are tried at once.

    Args:
        session: A transaction that may write.
        actor: Who asked, for the audit trail.
        radiograph_ids: Only these; None: all.
        code: Only jobs that ended with this error code, or pause for it.
        before: Only what ended by then; who works in portions would otherwise meet what fails meanwhile again.
        limit: At most so many.

    Returns:
        The jobs that wait again; those of radiographs whose originals were deleted are left as they are.

    Raises:
        OriginalDeleted: One of `radiograph_ids` has no original any more; nothing is sent back.
    """
    at = now(session)
    if radiograph_ids is not None:
        refuse_deleted(session, radiograph_ids)
    deleted = select(RadiographRow.id).where(
        RadiographRow.id == JobRow.radiograph_id, RadiographRow.original_deleted_at.is_not(None)
    )
    ended: ColumnElement[bool] = and_(JobRow.status.in_(RETRYABLE), ~exists(deleted.correlate(JobRow)))
    if before is not None:
        ended = and_(ended, or_(JobRow.finished_at.is_(None), JobRow.finished_at <= before))
    pausing = and_(JobRow.status == JobStatus.WAITING, JobRow.error_code > "", JobRow.available_at > at)
    kinds = [_some(session, kind, radiograph_ids, code, limit) for kind in (ended, pausing)]
    found = [row for rows in kinds for row in rows]
    _change(
        session,
        [row.id for row in found],
        status=JobStatus.WAITING,
        available_at=at,
        attempts=0,
        deaths=0,
        deaths_alone=0,
        rung_at=None,
        finished_at=None,
        error_code=None,
        error_words=None,
    )
    events = [
        Event(
            kind="retried",
            actor=actor,
            radiograph_id=row.radiograph_id,
            job_id=row.id,
            detail={"was": row.status.value, "code": row.error_code, "attempts": row.attempts},
        )
        for row in found
    ]
    record_events(session, at, events)
    return [row.id for row in found]


def cancel_jobs(
    session: Session,
    *,
    actor: str,
    radiograph_ids: Sequence[int] | None = None,
    submission: int | None = None,
    failed: bool = False,
    code: str | None = None,
    before: datetime | None = None,
    limit: int | None = None,
) -> list[int]:
    """Take waiting jobs back; what runs already is not stopped.

    Args:
        session: A transaction that may write.
        actor: Who asked, for the audit trail.
        radiograph_ids: Only these; None: all.
        submission: Only radiographs that came in with this submission and no other, which may still want them.
        failed: Only what failed for a passing cause and waits to be tried again.
        code: Only what waits to be tried again after this error code.
        before: Only jobs made by then.
        limit: At most so many.

    Returns:
        The jobs that were cancelled.
    """
    at = now(session)
    waiting: ColumnElement[bool] = JobRow.status == JobStatus.WAITING
    if before is not None:
        waiting = and_(waiting, JobRow.created_at <= before)
    if submission is not None:
        waiting = and_(waiting, only_of_submission(submission))
    if failed:
        waiting = and_(waiting, JobRow.error_code > "")
    found = _some(session, waiting, radiograph_ids, code, limit)
    _change(session, [row.id for row in found], status=JobStatus.CANCELLED, finished_at=at, rung_at=None)
    events = [
        Event(kind="cancelled", actor=actor, radiograph_id=row.radiograph_id, job_id=row.id, detail={}) for row in found
    ]
    record_events(session, at, events)
    return [row.id for row in found]


def of_submission(submission: int) -> ColumnElement[bool]:
    """Whether a job's radiograph came in with a submission."""
    return JobRow.radiograph_id.in_(
        select(ArrivalRadiographRow.radiograph_id)
        .join(ArrivalRow, ArrivalRow.id == ArrivalRadiographRow.arrival_id)
        .where(ArrivalRow.submission_id == submission)
    )


def only_of_submission(submission: int) -> ColumnElement[bool]:
    """Whether a job's radiograph came in with a submission and with no other."""
    other = (
        select(ArrivalRow.id)
        .join(ArrivalRadiographRow, ArrivalRadiographRow.arrival_id == ArrivalRow.id)
        .where(ArrivalRadiographRow.radiograph_id == JobRow.radiograph_id, ArrivalRow.submission_id != submission)
    )
    return and_(of_submission(submission), ~exists(other))


def _some(
    session: Session,
    condition: ColumnElement[bool],
    radiograph_ids: Sequence[int] | None,
    code: str | None,
    limit: int | None,
) -> Sequence[Row[int, int, JobStatus, str | None, int]]:
    """Choose jobs, locking them where rows can be locked; what others hold is left to them."""
    query = select(JobRow.id, JobRow.radiograph_id, JobRow.status, JobRow.error_code, JobRow.attempts).where(condition)
    if radiograph_ids is not None:
        query = query.where(JobRow.radiograph_id.in_(radiograph_ids))
    if code is not None:
        query = query.where(JobRow.error_code == code)
    return session.execute(query.order_by(JobRow.id).limit(limit).with_for_update(skip_locked=True)).all()


def _change(session: Session, job_ids: Sequence[int], **values: Any) -> None:
    for start in range(0, len(job_ids), 500):
        some = JobRow.id.in_(job_ids[start : start + 500])
        session.execute(update(JobRow).where(some).values(**values).execution_options(synchronize_session=False))


def refuse_deleted(session: Session, radiograph_ids: Sequence[int]) -> None:
    """Refuse to have radiographs classified again whose originals were deleted.

    Raises:
        OriginalDeleted: Names the first of them.
    """
    query = select(RadiographRow.id, RadiographRow.original_deleted_at).where(
        RadiographRow.id.in_(radiograph_ids), RadiographRow.original_deleted_at.is_not(None)
    )
    for number, deleted_at in session.execute(query.order_by(RadiographRow.id).limit(1)):
        if deleted_at is not None:  # for the type checker; the query says so
            raise OriginalDeleted.of(number, deleted_at)


def count_unfinished(session: Session, radiograph_ids: Sequence[int]) -> int:
    """Count those of these radiographs for which some job has not ended."""
    left: set[int] = set()
    for start in range(0, len(radiograph_ids), 500):
        query = select(JobRow.radiograph_id).where(
            JobRow.radiograph_id.in_(radiograph_ids[start : start + 500]), JobRow.status.not_in(ENDED)
        )
        left.update(session.scalars(query))
    return len(left)


def put_times_right(session: Session, lease_seconds: float) -> int:
    """Bring back work whose times lie far ahead, because the clock was put back since; return how many jobs.

    Otherwise all that waited at that moment would wait until the clock is there again, and the lease of a worker that
    died would last as long.

    Args:
        session: A transaction that may write.
        lease_seconds: How long a claim holds from now on.
    """
    at = now(session)
    waiting = (
        update(JobRow)
        .where(JobRow.status == JobStatus.WAITING, JobRow.created_at > at + _AHEAD)
        .values(created_at=at, available_at=at, rung_at=None)
    )
    running = (
        update(JobRow)
        .where(
            JobRow.status == JobStatus.RUNNING,
            JobRow.started_at > at + _AHEAD,
            JobRow.lease_until > at + timedelta(seconds=lease_seconds),
        )
        .values(started_at=at, lease_until=at + timedelta(seconds=lease_seconds))
    )
    return _count(session, waiting) + _count(session, running)


def take_unheard(session: Session, patience_seconds: float) -> int:
    """Note a bell for claimable jobs whose last one was too long ago; return how many.

    Who gets a number above 0 must ring. A second caller at the same moment gets 0.
    """
    at = now(session)
    # By a clock that was put back since; no pause is that long.
    ahead = (JobRow.rung_at > at + _AHEAD) | (JobRow.available_at > at + _AHEAD + _LONGEST_PAUSE)
    heard_before = func.coalesce(JobRow.rung_at, JobRow.available_at) <= at - timedelta(seconds=patience_seconds)
    return _count(
        session,
        update(JobRow)
        .where(JobRow.status == JobStatus.WAITING, ahead | ((JobRow.available_at <= at) & heard_before))
        .values(rung_at=at, available_at=case((JobRow.available_at > at, at), else_=JobRow.available_at)),
    )


def _count(session: Session, statement: Update) -> int:
    result = session.execute(statement.execution_options(synchronize_session=False))
    assert isinstance(result, CursorResult)  # noqa: S101 - tells the type checker; an UPDATE has no other result
    return result.rowcount
