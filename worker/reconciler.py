"""Make good what was lost: claims whose lease ran out, waiting work that no bell announces; write the minute's figures.

Run by Celery beat every few seconds and by `fracture-queue doctor`. Two at once do no harm: each job is returned by
one of them, and the one that notes the bell rings it. A broker that is away ends the tick.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from core.database import Database
from core.queue import announced, ring
from core.records.counters import fold
from core.records.deaths import Verdict, return_expired
from core.records.history import record_minutes
from core.records.idempotency import forget_old
from core.records.jobs import put_times_right, take_unheard
from core.records.tallies import fold_tallies
from core.records.workers import forget_silent, idle_workers
from core.settings import Settings
from worker.notes import evidence_left_by

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reconciled:
    """What one tick did."""

    returned: int  # jobs whose lease had run out and that wait again
    quarantined: int  # jobs set aside after too many deaths
    announced_again: int  # waiting jobs for which a bell was rung


def reconcile(settings: Settings, database: Database, actor: str) -> Reconciled:
    """Do one tick.

    A job that waits long because everybody is busy is healthy: a bell is rung again only when a worker is idle and
    the broker holds none.

    Raises:
        Unavailable: The database or the broker is away.
    """
    with database.transaction() as session:
        put_right = put_times_right(session, settings.lease_seconds)
        found = return_expired(session, actor, lambda worker, token: evidence_left_by(settings.runtime, worker, token))
        verdicts = list(found.values())
    with database.transaction() as session:
        fold(session)
        fold_tallies(session)
        if record_minutes(session):
            forget_silent(session)
        forget_old(session)
    quarantined = verdicts.count(Verdict.QUARANTINED)
    returned = len(verdicts) - quarantined
    if put_right:
        log.warning("The clock was put back; %d jobs do not wait until it is there again.", put_right)
    if verdicts:
        log.warning("%d jobs of dead workers wait again, %d are quarantined.", returned, quarantined)
    return Reconciled(
        returned=returned, quarantined=quarantined, announced_again=_announce_again(settings, database, bool(verdicts))
    )


def _announce_again(settings: Settings, database: Database, at_once: bool) -> int:
    """Ring for waiting work that nobody will come for; return for how many jobs.

    Args:
        settings: Patience and batch size.
        database: Where the work waits.
        at_once: Jobs were just returned; their bell was used up by the worker that died, so patience is pointless.
    """
    if announced() > 0:
        return 0  # whoever takes that bell goes on until nothing waits
    with database.reading() as session:
        if not idle_workers(session, within_seconds=settings.lease_seconds):
            return 0
    with database.transaction() as session:
        unheard = take_unheard(session, 0.0 if at_once else settings.bell_patience_seconds)
    if unheard:
        ring(unheard, settings)
        log.info("Rang again for %d waiting jobs.", unheard)
    return unheard
