"""A thread in the worker's main process that watches its pool: who takes too long, who died, and of what.

A process that dies with a batch in hand need not be waited for until its lease runs out: its parent knows. The thread
returns the batch at once, with the evidence; where the database is away meanwhile, the lease runs out and the
reconciler finds the note.
"""

from __future__ import annotations

import logging
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace

from core.database import Database
from core.errors import BrokerUnavailable, Unavailable
from core.queue import ring
from core.records.deaths import return_claim, return_unnoted
from core.records.workers import Identity
from core.settings import Settings
from worker.notes import Note, add_end, peak_memory_of, read_note

log = logging.getLogger(__name__)

#: How often living processes are looked at. Our choice: memory seldom grows by more than a gigabyte in this time.
_LOOK_SECONDS = 0.5


class Witness:
    """Watches the processes of one pool from `start` on; as a daemon thread it ends with its process."""

    def __init__(self, settings: Settings, pids: Callable[[], Iterable[int]]) -> None:
        self._settings, self._pids = settings, pids
        self._database = Database(settings.database_url)
        self._identity = Identity.of_this_process("worker")
        self._ended: queue.SimpleQueue[tuple[int, int | None]] = queue.SimpleQueue()
        self._peaks: dict[int, int] = {}  # process id to bytes
        self._suspects: dict[int, str] = {}  # process id to the claim that was found overdue at the last look
        self._overdue: set[int] = set()  # killed by us
        self._thread = threading.Thread(target=self._run, name="witness", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def tell(self, pid: int, exit_code: int | None) -> None:
        """Be told that a process has ended; returns at once."""
        self._ended.put((pid, exit_code))

    def _run(self) -> None:
        next_look = 0.0
        while True:
            try:
                pid, exit_code = self._ended.get(timeout=max(0.0, next_look - time.monotonic()))
            except queue.Empty:
                next_look = time.monotonic() + _LOOK_SECONDS
                self._safely(self._look)
            else:
                self._safely(lambda: self._bury(pid, exit_code))  # noqa: B023 - called at once

    def _safely(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Unavailable as error:
            log.warning("%s The work of a dead process comes back when its lease runs out.", error)
        except Exception:  # without this thread nobody keeps the time limit
            log.exception("Watching the pool failed; it goes on.")

    def _look(self) -> None:
        for pid in self._pids():
            self._peaks[pid] = max(self._peaks.get(pid, 0), peak_memory_of(pid) or 0)
            note = read_note(self._settings.runtime, pid)
            if note is None or not note.token or pid in self._overdue:
                continue
            if time.monotonic() - note.claimed_at <= self._settings.batch_limit_seconds:
                continue
            if self._suspects.get(pid) != note.token:  # looked at twice: a note may be read while it is being written
                self._suspects[pid] = note.token
            else:
                self._overdue.add(pid)
                log.error("A batch takes longer than %g s; its process is killed.", self._settings.batch_limit_seconds)
                os.kill(pid, signal.SIGKILL)

    def _bury(self, pid: int, exit_code: int | None) -> None:
        note = read_note(self._settings.runtime, pid)
        peak, overdue = self._peaks.pop(pid, None), pid in self._overdue
        self._overdue.discard(pid)
        self._suspects.pop(pid, None)
        if exit_code == 0 and (note is None or not note.token):
            return  # it ended in peace
        last: Note = replace(
            note or Note(),
            exit_code=exit_code,
            peak_memory_bytes=peak or None,
            limit_seconds=self._settings.batch_limit_seconds if overdue else None,
        )
        if last.token:
            add_end(self._settings.runtime, pid, last)
        dead, witness = str(replace(self._identity, pid=pid)), str(self._identity)
        with self._database.transaction() as session:
            verdicts = return_claim(session, last.token, witness, last.evidence()) if last.token else {}
            # The database knows of a claim a moment before the note does.
            verdicts |= return_unnoted(session, dead, witness, exit_code)
        if verdicts:
            log.error("A process that held %d jobs was %s.", len(verdicts), last.evidence().words())
            try:
                ring(len(verdicts), self._settings)
            except BrokerUnavailable as error:
                log.warning("%s The reconciler rings later.", error)
