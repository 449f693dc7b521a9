"""The queue's checks: leases, bells, what was set aside, kept counts, the database itself."""

from __future__ import annotations

import logging
from contextlib import suppress

from sqlalchemy import text

from core.errors import BrokerUnavailable
from core.queue import announced
from core.records.counters import count_differences, recount
from core.records.upkeep import lapsed_leases, quarantined_work, unheard_work
from core.records.workers import idle_workers
from core.settings import Settings
from core.words import counted
from worker.doctor.ailments import Ailment, Check, Premises
from worker.reconciler import reconcile

log = logging.getLogger(__name__)


def tick_patience(settings: Settings) -> float:
    """Return the seconds within which the reconciler surely had a turn: its ticks stand in line behind batches."""
    return 2 * (settings.reconcile_seconds + settings.drain_seconds)


def _examine_integrity(premises: Premises) -> Ailment | None:
    if not premises.database.is_sqlite:
        return None  # PostgreSQL checks its pages as it reads them
    with premises.database.reading() as session:
        found = [words for (words,) in session.execute(text("PRAGMA quick_check(5)")) if words != "ok"]
    return Ailment.of("fault", "in the database file; stop everything and go back to a backup.", found)


def _examine_counters(premises: Premises) -> Ailment | None:
    with premises.database.reading() as session:
        differences = count_differences(session)
    return Ailment.of(
        "count",
        "kept wrongly: not what the rows say, so that figures of the queue are wrong.",
        [f"{name}: {missing:+d}" for name, missing in sorted(differences.items())],
        remedy="counts the rows anew",
    )


def _recount(premises: Premises) -> None:
    with premises.database.transaction() as session:
        recount(session)


def _examine_leases(premises: Premises) -> Ailment | None:
    patience = tick_patience(premises.settings) if premises.has("worker") else 0.0
    with premises.database.reading() as session:
        stuck = lapsed_leases(session, for_seconds=patience)
    return Ailment.of(
        "job",
        "held by processes that died or were cut off, and returned by nobody.",
        [f"radiograph {number}" for number in stuck.radiograph_ids],
        count=stuck.count,
        remedy="returns them to the queue, counting a death for each",
    )


def _examine_bells(premises: Premises) -> Ailment | None:
    settings = premises.settings
    patience = settings.bell_patience_seconds + tick_patience(settings)
    with premises.database.reading() as session:
        stuck = unheard_work(session, for_seconds=patience)
        idle = bool(stuck.count) and bool(idle_workers(session, within_seconds=settings.lease_seconds))
    if not idle or announced() > 0:
        return None  # everybody is busy, nobody works, or somebody is about to be told: a long wait is no loss
    return Ailment.of(
        "job",
        "waiting although a worker is idle: announced by no message.",
        [f"radiograph {number}" for number in stuck.radiograph_ids],
        count=stuck.count,
        remedy="announces them again",
    )


def _reconcile(premises: Premises) -> None:
    # What was returned is safe; without a broker the reconciler announces it later, and the check on bells says so.
    with suppress(BrokerUnavailable):
        reconcile(premises.settings, premises.database, premises.actor)


def _examine_quarantine(premises: Premises) -> Ailment | None:
    with premises.database.reading() as session:
        stuck = quarantined_work(session)
    if not stuck.count:
        return None
    # Not broken: an end like any other, and stated. So it leaves the exit code alone.
    return Ailment(
        f"{counted(stuck.count, 'job')} set aside because workers died each time; "
        "`fracture-queue retry ID` tries one again.",
        stuck.count,
        tuple(f"radiograph {n}: {words}" for n, words in zip(stuck.radiograph_ids, stuck.words, strict=True)),
        notice=True,
    )


QUEUE_CHECKS = (
    Check("database", _examine_integrity),
    Check("counters", _examine_counters, _recount),
    Check("leases", _examine_leases, _reconcile),
    Check("bells", _examine_bells, _reconcile),
    Check("quarantine", _examine_quarantine),
)
