"""What the processes begin with that take radiographs in."""

from __future__ import annotations

import signal
import threading

from core.announce import announcer
from core.database import Database
from core.home import prepare_home, prepare_runtime
from core.ingest import Ingest
from core.schema import check_schema
from core.settings import Settings
from core.store import open_store


def open_intake(settings: Settings) -> tuple[Database, Ingest]:
    """Make the folders, look at the tables, and return the database and the way into it.

    Raises:
        ConfigurationError: Folders or tables are unusable.
        Unavailable: A disk is full, or the database is away.
    """
    prepare_home(settings)
    prepare_runtime(settings.runtime)
    database = Database(settings.database_url)
    check_schema(database)
    return database, Ingest(settings, database, open_store(settings), announcer(settings, database))


def stop_on_signals() -> threading.Event:
    """Return an event that SIGTERM and SIGINT set."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop
