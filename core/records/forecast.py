"""When a submission will probably be finished: the work that is done before its last job, at the rate of late."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from core.database import now
from core.records.counters import job_counts
from core.records.workers import living
from core.tables import ENDED, ArrivalRadiographRow, ArrivalRow, JobRow, JobStatus

#: Jobs that ended this long ago say how fast it goes.
_LATELY_SECONDS = 60.0
#: Fewer say nothing.
_FEWEST = 5
#: Jobs ahead that are counted one by one; beyond, all that waits is taken for them.
_MOST_COUNTED = 100_000


def seconds_left(session: Session, submission_id: int, *, heard_within_seconds: float) -> float | None:
    """Estimate the time until a submission's last job has ended; None where nobody can know.

    Args:
        session: An open transaction.
        submission_id: Which one; it has unfinished jobs.
        heard_within_seconds: Workers silent for longer do nothing any more.
    """
    rate = _jobs_per_second(session)
    if rate is None or not living(session, role="worker", within_seconds=heard_within_seconds):
        return None
    return (_ahead(session, submission_id) + job_counts(session)[JobStatus.RUNNING]) / rate


def _jobs_per_second(session: Session) -> float | None:
    """Return how many jobs have ended a second lately, counted from the first of them: work may just have begun."""
    at = now(session)
    ended = JobRow.finished_at >= at - timedelta(seconds=_LATELY_SECONDS)
    count, first = session.execute(
        select(func.count(), func.min(JobRow.finished_at)).where(JobRow.status.in_(ENDED), ended)
    ).one()
    if count < _FEWEST or first is None:
        return None
    return float(count / max(1.0, (at - first).total_seconds()))


def _ahead(session: Session, submission_id: int) -> int:
    """Return how many waiting jobs are claimed up to the submission's last one: by priority, then by age."""
    last = session.execute(
        select(JobRow.priority, JobRow.id)
        .join(ArrivalRadiographRow, ArrivalRadiographRow.radiograph_id == JobRow.radiograph_id)
        .join(ArrivalRow, ArrivalRow.id == ArrivalRadiographRow.arrival_id)
        .where(ArrivalRow.submission_id == submission_id, JobRow.status == JobStatus.WAITING)
        .order_by(JobRow.priority, JobRow.id.desc())
        .limit(1)
    ).first()
    if last is None:
        return 0
    before = or_(JobRow.priority > last.priority, (JobRow.priority == last.priority) & (JobRow.id <= last.id))
    waiting = select(JobRow.id).where(JobRow.status == JobStatus.WAITING, before).limit(_MOST_COUNTED).subquery()
    counted = session.scalar(select(func.count()).select_from(waiting)) or 0
    return counted if counted < _MOST_COUNTED else job_counts(session)[JobStatus.WAITING]
