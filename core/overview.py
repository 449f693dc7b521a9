"""The queue seen whole by one process: the database's figures, checked against the broker.

What changes slowly and costs most is kept for some seconds, so that a page that is open all day costs little.
"""

from __future__ import annotations

import threading
import time

from core.broker_watch import BrokerWatch
from core.database import Database
from core.records.figures import QueueFigures, queue_figures
from core.records.history import Pace
from core.settings import Settings

_PACE_SECONDS = 3.0


class Overview:
    """Made once per process; safe to use from several threads."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings, self._database = settings, database
        self._broker = BrokerWatch()
        self._lock = threading.Lock()
        self._pace: Pace | None = None
        self._pace_until = 0.0

    def figures(self, *, wait_seconds: float = 0.1) -> QueueFigures:
        """Return the figures of this moment.

        Args:
            wait_seconds: How long the first look at the broker may take.

        Raises:
            DatabaseUnavailable: Nothing is known without the database.
        """
        broker = self._broker.latest(wait_seconds=wait_seconds)
        known = self._pace if time.monotonic() < self._pace_until else None
        with self._database.reading() as session:
            found = queue_figures(session, self._settings, broker, known_pace=known)
        if known is None:
            with self._lock:
                self._pace, self._pace_until = found.pace, time.monotonic() + _PACE_SECONDS
        return found
