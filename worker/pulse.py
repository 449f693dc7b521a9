"""One thread per worker process that renews the claim in hand and says that the process lives."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from core.errors import Unavailable
from core.records.claims import Claim, renew
from core.records.workers import MAIN, Identity, beat, sign_off
from worker.context import WorkerContext

log = logging.getLogger(__name__)


class Pulse:
    """Beats every `heartbeat_seconds` from `start` to `stop`."""

    def __init__(self, context: WorkerContext) -> None:
        self._context = context
        self._lock = threading.Lock()
        self._claim: Claim | None = None
        self._claimed_at = 0.0
        self._idle_from = time.monotonic()
        # Asked now: whose parent has died belongs to another process.
        self._main = Identity(MAIN, context.identity.host, os.getppid())
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pulse", daemon=True)

    def start(self) -> None:
        """Begin to beat."""
        self._thread.start()

    def stop(self) -> None:
        """End, and sign this process off."""
        self._ended.set()
        self._thread.join(timeout=5)
        try:
            with self._context.database.transaction() as session:
                sign_off(session, self._context.identity)
        except Unavailable as error:
            log.warning("%s This process could not sign off; it will be forgotten.", error)

    def stir(self) -> None:
        """Note that this process was given a task, with work behind it or not."""
        self._idle_from = time.monotonic()

    @contextmanager
    def holding(self, claim: Claim) -> Iterator[None]:
        """Renew a claim's lease while the block runs, but never past the time limit of a batch."""
        with self._lock:
            self._claim, self._claimed_at = claim, time.monotonic()
        try:
            yield
        finally:
            with self._lock:
                self._claim = None
                self._idle_from = time.monotonic()

    def _run(self) -> None:
        while True:
            try:
                self._beat()
            except Unavailable as error:
                log.warning("%s Beating goes on.", error)
            except Exception:  # without this thread healthy leases would run out, batch after batch
                log.exception("A heartbeat failed; beating goes on.")
            if self._ended.wait(self._context.settings.heartbeat_seconds):
                return

    def _beat(self) -> None:
        settings = self._context.settings
        with self._lock:
            claim = self._claim
            overdue = time.monotonic() - self._claimed_at > settings.batch_limit_seconds
            idle_seconds = None if claim else time.monotonic() - self._idle_from
        with self._context.database.transaction() as session:
            if claim and not overdue:
                renew(session, claim.token, settings.lease_seconds)
            beat(
                session,
                self._context.identity,
                engine=settings.engine,
                holds=len(claim.jobs) if claim else 0,
                idle_seconds=idle_seconds,
                model=self._context.model,
                main=self._main,
            )
