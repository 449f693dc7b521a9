"""What people and the bell do with jobs outside a claim: retry, cancel, and knowing which were announced."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session

from core.database import now
from core.records.events import Event, record_events
from core.tables import JobRow, JobStatus

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


def mark_rung(session: Session, at: datetime) -> None:
    """Note that a bell was rung for everything that waits."""
    waiting = JobRow.status == JobStatus.WAITING
    session.execute(
        update(JobRow)
        .where(waiting, or_(JobRow.rung_at.is_(None), JobRow.rung_at < at))
        .values(rung_at=at)
        .execution_options(synchronize_session=False)
    )


def count_unheard(session: Session, patience_seconds: float) -> int:
    """Count claimable jobs whose bell was rung too long ago, or never while they were waiting that long."""
    at = now(session)
    before = at - timedelta(seconds=patience_seconds)
    return session.execute(
        select(func.count())
        .select_from(JobRow)
        .where(
            JobRow.status == JobStatus.WAITING,
            JobRow.available_at <= at,
            func.coalesce(JobRow.rung_at, JobRow.available_at) < before,
        )
    ).scalar_one()


def count_claimable(session: Session) -> int:
    """Count the jobs that a worker could take now."""
    at = now(session)
    query = (
        select(func.count()).select_from(JobRow).where(JobRow.status == JobStatus.WAITING, JobRow.available_at <= at)
    )
    return session.execute(query).scalar_one()
