"""What people and the bell do with jobs outside a claim: retry, cancel, and knowing which were announced."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import CursorResult, Update, case, func, select, update
from sqlalchemy.orm import Session

from core.database import now
from core.records.claims import LONGEST_PAUSE_SECONDS
from core.records.events import Event, record_events
from core.tables import ENDED, JobRow, JobStatus

#: Times that lie further ahead were written by a clock that was put back since. Less may be a writer who had to wait
#: (SQLite's wait half a minute) after they had looked at the clock.
_AHEAD = timedelta(minutes=1)
_LONGEST_PAUSE = timedelta(seconds=LONGEST_PAUSE_SECONDS)
RETRYABLE = (JobStatus.FAILED, JobStatus.QUARANTINED, JobStatus.CANCELLED)


def retry_jobs(
    session: Session, *, actor: str, radiograph_ids: Sequence[int] | None = None, code: str | None = None
) -> list[int]:
    """Send jobs that failed, were quarantined or cancelled back to waiting, with a clean record of attempts.

    Args:
        session: A transaction that may write.
        actor: Who asked, for the audit trail.
        radiograph_ids: Only these; None: all.
        code: Only jobs that ended with this error code.

    Returns:
        The jobs that wait again.
    """
    at = now(session)
    query = select(JobRow).where(JobRow.status.in_(RETRYABLE))
    if radiograph_ids is not None:
        query = query.where(JobRow.radiograph_id.in_(radiograph_ids))
    if code is not None:
        query = query.where(JobRow.error_code == code)
    events = []
    for job in session.scalars(query.order_by(JobRow.id).with_for_update(skip_locked=True)).all():
        detail = {"was": job.status.value, "code": job.error_code, "attempts": job.attempts}
        events.append(Event(kind="retried", actor=actor, radiograph_id=job.radiograph_id, job_id=job.id, detail=detail))
        job.status, job.available_at = JobStatus.WAITING, at
        job.attempts = job.deaths = job.deaths_alone = 0
        job.rung_at = job.finished_at = job.error_code = job.error_words = None
    session.flush()
    record_events(session, at, events)
    return [event.job_id for event in events if event.job_id is not None]


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
