"""What the broker holds, looked at by a thread of its own: a broker that is away takes seconds to say so.

Whoever shows figures asks for the latest look and never waits long. The thread looks while somebody asks, keeps its
connection, and knows for how long bells have been lying there, which no single look can tell.
"""

from __future__ import annotations

import logging
import threading
import time

from kombu.connection import Connection

from core.broker_sight import Bells, BrokerSight
from core.errors import BrokerUnavailable
from core.queue import app, count_bells, release

log = logging.getLogger(__name__)

#: Between two looks; how long the thread goes on after the last question; how old a look may be to count.
_LOOK_SECONDS, _ASKED_SECONDS, _STALE_SECONDS = 1.0, 15.0, 6.0


class BrokerWatch:
    """Looks at the broker of this process's Celery application."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._looked = threading.Condition(self._lock)
        self._thread: threading.Thread | None = None
        self._asked_at = 0.0
        self._sight, self._sight_at = BrokerSight(), float("-inf")
        self._untaken_since: float | None = None

    def latest(self, *, wait_seconds: float = 0.1) -> BrokerSight:
        """Return the latest look; wait for the first one, but not long."""
        with self._looked:
            self._asked_at = time.monotonic()
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="broker watch", daemon=True)
                self._thread.start()
            if self._age() > _STALE_SECONDS:
                self._looked.wait_for(lambda: self._age() <= _STALE_SECONDS, timeout=wait_seconds)
            if self._age() <= _STALE_SECONDS:
                return self._sight
            # It was there and does not come back with an answer: hanging is no better than being away.
            return BrokerSight(answers=None if self._sight.answers is None else False)

    def _age(self) -> float:
        return time.monotonic() - self._sight_at

    def _run(self) -> None:
        connection: Connection | None = None
        while True:
            with self._lock:
                if time.monotonic() - self._asked_at > _ASKED_SECONDS:
                    self._thread = None
                    break
            try:
                connection = connection or app.connection_for_read()
                self._note(count_bells(connection))
            except BrokerUnavailable:
                release(connection)
                connection = None
                self._note(None)
            except Exception:  # whatever kombu says of a connection that died; this thread has to go on
                log.debug("The look at the broker failed.", exc_info=True)
                release(connection)
                connection = None
                self._note(None)
            time.sleep(_LOOK_SECONDS)
        release(connection)

    def _note(self, bells: Bells | None) -> None:
        with self._looked:
            at = time.monotonic()
            if bells is None or not bells.announced:
                self._untaken_since = None
            elif self._untaken_since is None:
                self._untaken_since = at
            since = 0.0 if self._untaken_since is None else at - self._untaken_since
            self._sight, self._sight_at = BrokerSight(bells is not None, bells, since), at
            self._looked.notify_all()
