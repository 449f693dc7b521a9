"""What people order: try again, take back, resume. From the page, the API and the command line alike.

Large orders are carried out in portions, each a transaction of its own, so that workers go on in between.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.database import Database, now
from core.errors import BrokerUnavailable, NotFound
from core.records import controls
from core.records.counters import job_counts
from core.records.jobs import cancel_jobs, retry_jobs
from core.records.workers import known_hosts
from core.tables import JobStatus, RadiographRow, SubmissionRow

log = logging.getLogger(__name__)

_PORTION = 1000
Announce = Callable[[int], None]


def retry(
    database: Database,
    announce: Announce,
    *,
    actor: str,
    radiograph_ids: Sequence[int] | None = None,
    code: str | None = None,
) -> int:
    """Send work that failed, was set aside or was cancelled back to the queue; return how many jobs.

    Args:
        database: Where the work is.
        announce: Rings; a broker that is away changes nothing, the work is announced later.
        actor: Who asked, for the audit trail.
        radiograph_ids: Only these; None: all.
        code: Only of this cause, also what pauses for it.

    Raises:
        NotFound: There is no such radiograph; nothing is sent back.
        OriginalDeleted: Likewise.
    """
    with database.reading() as session:
        began = now(session)
        _refuse_unknown(session, radiograph_ids or ())

    def some(session: Session) -> list[int]:
        return retry_jobs(session, actor=actor, radiograph_ids=radiograph_ids, code=code, before=began, limit=_PORTION)

    jobs = _in_portions(database, some)
    ring_for(announce, jobs)
    return jobs


def cancel(
    database: Database,
    *,
    actor: str,
    radiograph_ids: Sequence[int] | None = None,
    submission: int | None = None,
    failed: bool = False,
    code: str | None = None,
) -> int:
    """Take waiting work back; return how many jobs. What it is limited to: as in `jobs.cancel_jobs`.

    Raises:
        NotFound: There is no such submission or radiograph; nothing is taken back.
    """
    with database.reading() as session:
        began = now(session)
        _refuse_unknown(session, radiograph_ids or ())
        if submission is not None and session.get(SubmissionRow, submission) is None:
            raise NotFound(f"There is no submission {submission}.")

    def some(session: Session) -> list[int]:
        return cancel_jobs(
            session,
            actor=actor,
            radiograph_ids=radiograph_ids,
            submission=submission,
            failed=failed,
            code=code,
            before=began,
            limit=_PORTION,
        )

    return _in_portions(database, some)


def pause(database: Database, target: str, *, actor: str, host: str | None = None, note: str = "") -> bool:
    """Pause the intake or workers; return whether that changed anything.

    Raises:
        NotFound: No worker of that machine is known: a slip in its name would leave its workers at work.
    """
    with database.transaction() as session:
        changed = controls.pause(session, target, actor=actor, host=host, note=note)
        if changed and host is not None and host not in (known := known_hosts(session)):
            others = f"known: {', '.join(known)}" if known else "no worker has been heard of lately"
            raise NotFound(f"No worker of a machine {host!r} is known; {others}. Nothing was paused.")
        return changed


def resume(database: Database, announce: Announce, target: str, *, actor: str, host: str | None = None) -> bool:
    """End a pause; return whether there was one. Workers are told what waits."""
    with database.transaction() as session:
        changed = controls.resume(session, target, actor=actor, host=host)
        waiting = job_counts(session)[JobStatus.WAITING]
    if changed and target == controls.WORKERS:
        ring_for(announce, waiting)
    return changed


def ring_for(announce: Announce, jobs: int) -> None:
    """Ring for waiting jobs; a broker that is away changes nothing."""
    if not jobs:
        return
    try:
        announce(jobs)
    except BrokerUnavailable as error:
        log.warning("%s %d jobs wait in the database.", error, jobs)


def _refuse_unknown(session: Session, radiograph_ids: Sequence[int]) -> None:
    known = set(session.scalars(select(RadiographRow.id).where(RadiographRow.id.in_(radiograph_ids))))
    if unknown := [str(number) for number in dict.fromkeys(radiograph_ids) if number not in known]:
        raise NotFound(f"There is no radiograph {', '.join(unknown)}. Nothing was changed.")


def _in_portions(database: Database, step: Callable[[Session], list[int]]) -> int:
    total = 0
    while True:
        with database.transaction() as session:
            changed = len(step(session))
        total += changed
        if changed < _PORTION:
            return total
