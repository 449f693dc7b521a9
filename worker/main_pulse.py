"""A thread in the worker's main process that says that it lives, whether it takes bells, and how its processes are.

The processes that classify beat for themselves. Whether one that falls silent hangs, computes or has ended, only its
parent can tell; and a parent that hangs leaves healthy processes without work, which only its own silence shows.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable

from celery.worker import state

from core import processes
from core.alive import forget_life, show_life
from core.database import Database
from core.errors import Unavailable
from core.records.workers import MAIN, WORKER, Identity, Seen, beat_main, sign_off
from core.settings import Settings
from worker.consumer import turning

log = logging.getLogger(__name__)

#: A silent process that uses this share of a processor computes. One that is idle uses less than a hundredth.
_AT_WORK = 0.05
#: The loop that takes bells turns every second or so, however busy the processes are.
_STUCK_SECONDS = 30.0


class MainPulse:
    """Beats every `heartbeat_seconds` from `start` to `stop`."""

    def __init__(self, settings: Settings, pids: Callable[[], Iterable[int]]) -> None:
        self._pids = pids
        self._beat_seconds, self._runtime = settings.heartbeat_seconds, settings.runtime
        self._database = Database(settings.database_url, synced=False)
        self._identity = Identity.of_this_process(MAIN)
        self._used: dict[int, tuple[int, float, float]] = {}  # by number: born, processor seconds, when looked at
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="main pulse", daemon=True)

    def start(self) -> None:
        """Begin to beat."""
        self._thread.start()

    def stop(self) -> None:
        """End, and sign off this process and those that it started."""
        self._ended.set()
        self._thread.join(timeout=5)
        forget_life(self._runtime, WORKER)
        try:
            with self._database.transaction() as session:
                sign_off(session, self._identity)
        except Unavailable as error:
            log.warning("%s This process could not sign off; it will be forgotten.", error)

    def _run(self) -> None:
        while True:
            if self._takes_bells():
                show_life(self._runtime, WORKER)
            try:
                self._beat()
            except Unavailable as error:
                log.warning("%s Beating goes on.", error)
            except Exception:
                log.exception("A heartbeat failed; beating goes on.")
            if self._ended.wait(self._beat_seconds):
                return

    def _takes_bells(self) -> bool:
        """Whether the loop that takes bells turns; without a broker it stands still, and starting anew brings none."""
        if not turning.connected or turning.turned_at is None:
            return True
        return time.monotonic() - turning.turned_at < _STUCK_SECONDS

    def _beat(self) -> None:
        children = self._children()
        turned = turning.turned_at
        ago = None if turned is None else time.monotonic() - turned
        prefetched = max(0, len(state.reserved_requests) - len(state.active_requests))
        with self._database.transaction() as session:
            beat_main(
                session,
                self._identity,
                children=children,
                turned_seconds_ago=ago,
                connected=turning.connected,
                prefetched=prefetched,
            )

    def _children(self) -> dict[int, Seen]:
        found, used, at = {}, {}, time.monotonic()
        for pid in self._pids():
            sight = processes.see(pid)
            if sight is None:
                continue
            born, before, looked_at = self._used.get(pid, (sight.born, sight.processor_seconds, at))
            share = (sight.processor_seconds - before) / (at - looked_at) if at > looked_at else 0.0
            at_work = born == sight.born and (share >= _AT_WORK or sight.waits_for_disk)
            found[pid] = Seen(born=sight.born, stopped=sight.stopped, at_work=at_work)
            used[pid] = (sight.born, sight.processor_seconds, at)
        self._used = used
        return found
