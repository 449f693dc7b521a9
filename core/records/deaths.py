"""What follows a worker's death: its jobs wait again, and one that was there at too many deaths is set aside."""

from __future__ import annotations

import enum
from collections.abc import Callable
from datetime import timedelta

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from core.database import now
from core.records.claims import pause_seconds
from core.records.events import Event, record_events
from core.records.evidence import NOTHING_KNOWN, STAGES, Evidence
from core.tables import JobRow, JobStatus

#: A job that ended this many attempts in an unexplained death, `DEATHS_ALONE` of them without batch mates, is set
#: aside. The second number keeps a poison image's batch mates out of quarantine.
DEATHS, DEATHS_ALONE = 3, 2
#: A network that kills its process while it is loaded is no job's fault; after so many attempts that ended there, its
#: jobs begin to pause, so that those of other models get their turn.
_VAIN_WITHOUT_PAUSE = 3


class Verdict(enum.StrEnum):
    """What became of a job whose worker is gone."""

    RETURNED = "returned"
    QUARANTINED = "quarantined"


def return_expired(
    session: Session, actor: str, evidence_of: Callable[[str, str], Evidence] = lambda _worker, _token: NOTHING_KNOWN
) -> dict[int, Verdict]:
    """Take jobs from claims whose lease ran out: their workers died or were cut off.

    Each counts a death, unless the worker is known to have died before it looked at a job. The third, two of them
    alone, quarantines the job with the evidence.

    Args:
        session: A transaction that may write.
        actor: Who does it, for the audit trail.
        evidence_of: Says for a worker's name and a claim's token what is known of the death.

    Returns:
        Job id to what became of it.
    """
    return _bury(session, JobRow.lease_until < now(session), actor, evidence_of)


def return_claim(session: Session, token: str, actor: str, evidence: Evidence) -> dict[int, Verdict]:
    """Take the jobs of a claim whose worker is known to be dead, whatever its lease says; else as `return_expired`."""
    return _bury(session, JobRow.lease_token == token, actor, lambda _worker, _token: evidence)


def return_unnoted(session: Session, worker: str, actor: str, exit_code: int | None) -> dict[int, Verdict]:
    """Take what a dead process had claimed and not yet begun: it died between the claim and its note of it.

    Args:
        session: A transaction that may write.
        worker: The dead process's name.
        actor: Who does it, for the audit trail.
        exit_code: How it ended, if that is known.

    Returns:
        Job id to what became of it; such a death counts for no job.
    """
    untouched = Evidence(stage=STAGES[0], exit_code=exit_code)
    return _bury(session, JobRow.worker == worker, actor, lambda _worker, _token: untouched)


def _bury(
    session: Session, condition: ColumnElement[bool], actor: str, evidence_of: Callable[[str, str], Evidence]
) -> dict[int, Verdict]:
    at = now(session)
    lapsed = select(JobRow).where(JobRow.status == JobStatus.RUNNING, condition)
    verdicts: dict[int, Verdict] = {}
    events = []
    known: dict[str, Evidence] = {}
    for job in session.scalars(lapsed.order_by(JobRow.id).with_for_update(skip_locked=True)).all():
        token = job.lease_token or ""
        evidence = known.setdefault(token, evidence_of(job.worker or "", token))
        if not evidence.before_any_job:
            job.deaths += 1
            job.deaths_alone += 1 if job.alone else 0
        detail = {
            "attempt": job.attempts,
            "deaths": job.deaths,
            "deaths_alone": job.deaths_alone,
            "worker": job.worker,
            "started_at": job.started_at.isoformat() if job.started_at else None,
            **evidence.detail(job.id),
        }
        job.lease_token = job.lease_until = job.rung_at = None
        if job.deaths >= DEATHS and job.deaths_alone >= DEATHS_ALONE:
            verdicts[job.id] = Verdict.QUARANTINED
            job.status, job.finished_at, job.error_code = JobStatus.QUARANTINED, at, "quarantined"
            job.error_words = (
                f"Its worker died {job.deaths} times while it was being classified, {job.deaths_alone} times with "
                f"nothing else in hand; the last was {job.worker}, {evidence.words()}."
            )
        else:
            verdicts[job.id] = Verdict.RETURNED
            vain = job.attempts - job.deaths - _VAIN_WITHOUT_PAUSE
            pause = pause_seconds(vain) if evidence.before_any_job and vain > 0 else 0
            job.status, job.available_at = JobStatus.WAITING, at + timedelta(seconds=pause)
        events.append(
            Event(kind=verdicts[job.id], actor=actor, radiograph_id=job.radiograph_id, job_id=job.id, detail=detail)
        )
    session.flush()
    record_events(session, at, events)
    return verdicts
