"""How the doors announce new work: a bell for each batch, but none that nobody could hear."""

from __future__ import annotations

from collections.abc import Callable

from core.database import Database
from core.errors import DatabaseUnavailable
from core.queue import ring
from core.records.workers import living
from core.settings import Settings


def announcer(settings: Settings, database: Database) -> Callable[[int], None]:
    """Return what rings for a number of new jobs.

    A bell costs processor time in three processes, and whoever hears one goes on until nothing waits: a drop of 10,000
    files needs one for each process that works, not one for each batch. What it returns raises `BrokerUnavailable`.
    """

    def announce(jobs: int) -> None:
        listeners = None
        if jobs > settings.batch_size:
            try:
                with database.reading() as session:
                    listeners = len(living(session, role="worker", within_seconds=settings.lease_seconds))
            except DatabaseUnavailable:
                pass  # the work is recorded already; more bells than needed do no harm
        ring(jobs, settings, listeners)

    return announce
