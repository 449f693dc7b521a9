"""Celery's pool of processes, with a witness who is told how each process ended, and a pulse of its own.

Celery itself keeps the exit code of a lost process in the words of an error only. The one method overridden here is
called by billiard 4.3 once for every process that has ended, before its place is filled again.
"""

from __future__ import annotations

import os
from typing import Any

from celery.concurrency.asynpool import AsynPool
from celery.concurrency.prefork import TaskPool

from core.settings import Settings
from worker.main_pulse import MainPulse
from worker.witness import Witness


class _WitnessedProcesses(AsynPool):  # type: ignore[misc]  # Celery ships no types
    witness: Witness | None = None

    def process_flush_queues(self, proc: Any) -> None:
        super().process_flush_queues(proc)
        if self.witness is not None and proc.exitcode is not None:
            self.witness.tell(proc.pid, proc.exitcode)


class WitnessedPool(TaskPool):  # type: ignore[misc]  # likewise
    """The prefork pool, watched."""

    Pool = _WitnessedProcesses

    def on_start(self) -> None:
        """Start the processes, then the watching."""
        super().on_start()
        processes = self._pool

        def pids() -> list[int]:
            return [process.pid for process in list(processes._pool) if process.pid]

        settings = Settings.from_env(os.environ)
        witness = Witness(settings, pids)
        witness.start()
        processes.witness = witness
        self._main_pulse = MainPulse(settings, pids)
        self._main_pulse.start()

    def on_stop(self) -> None:
        """Wait for the processes to finish what they hold, then sign off."""
        super().on_stop()
        self._main_pulse.stop()
