"""The priority of a submission, and of its radiographs that still wait."""

from __future__ import annotations

from sqlalchemy import CursorResult, func, select, update
from sqlalchemy.orm import Session

from core.database import now
from core.errors import NotFound
from core.records.events import Event, record_events
from core.records.jobs import of_submission
from core.tables import ArrivalRadiographRow, ArrivalRow, JobRow, JobStatus, SubmissionRow

LOWEST, HIGHEST = -100, 100


def set_priority(session: Session, submission: int, priority: int, *, actor: str) -> int:
    """Set a submission's priority; return how many of its jobs still waited.

    A radiograph that came in with other submissions too has the highest of their priorities.

    Raises:
        NotFound: There is no such submission.
    """
    row = session.get(SubmissionRow, submission)
    if row is None:
        raise NotFound(f"There is no submission {submission}.")
    detail = {"submission": submission, "was": row.priority, "priority": priority}
    row.priority = priority
    session.flush()
    highest = (
        select(func.max(SubmissionRow.priority))
        .join(ArrivalRow, ArrivalRow.submission_id == SubmissionRow.id)
        .join(ArrivalRadiographRow, ArrivalRadiographRow.arrival_id == ArrivalRow.id)
        .where(ArrivalRadiographRow.radiograph_id == JobRow.radiograph_id)
        .correlate(JobRow)
        .scalar_subquery()
    )
    result = session.execute(
        update(JobRow)
        .where(JobRow.status == JobStatus.WAITING, of_submission(submission))
        .values(priority=highest)
        .execution_options(synchronize_session=False)
    )
    assert isinstance(result, CursorResult)  # noqa: S101 - tells the type checker; an UPDATE has no other result
    record_events(
        session, now(session), [Event(kind="priority", actor=actor, detail={**detail, "jobs": result.rowcount})]
    )
    return result.rowcount
