"""Fracture Queue itself, started as a user starts it, in a folder of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

import psutil
from sqlalchemy import func, select

from core.database import Database
from core.errors import FractureError
from core.ports import free_port
from core.records.counters import job_counts
from core.settings import Settings
from core.tables import ENDED, JobRow, JobStatus, RadiographRow, Source

#: Longest time to start, to stop, and without any job ending, in seconds.
_START, _STOP, _STANDSTILL = 120.0, 60.0, 120.0


class BenchmarkFailed(FractureError):
    """What is measured did not do its work; a figure would be worth nothing."""


@dataclass(frozen=True)
class System:
    """A running installation."""

    settings: Settings
    database: Database
    process: subprocess.Popen[bytes]

    @property
    def page(self) -> str:
        """The address of its page and API."""
        return f"http://127.0.0.1:{self.settings.port}"

    def processes(self, role: str) -> list[psutil.Process]:
        """Return the processes of one role (redis, web, inbox, worker, beat): the one that was started comes first."""
        for child in psutil.Process(self.process.pid).children():
            command = child.cmdline()
            if command[-1:] == [role] or (role == "redis" and "redis" in command[0]):
                return [child, *child.children(recursive=True)]
        raise BenchmarkFailed(f"No process of the role {role} runs.")

    def processor_seconds(self) -> dict[str, float]:
        """Return the processor time that each role has used so far; the worker's processes apart from its main one."""
        spent = {"supervisor": _own_seconds(psutil.Process(self.process.pid))}
        for role in ("redis", "web", "inbox", "beat", "worker"):
            try:
                first, *further = self.processes(role)
            except BenchmarkFailed:
                continue  # a Redis that is not ours
            spent[role] = _own_seconds(first)
            if role == "worker":
                spent["classifying"] = sum(map(_own_seconds, further))
            else:
                spent[role] += sum(map(_own_seconds, further))
        return spent

    def ended(self) -> int:
        """Return how many jobs have ended."""
        with self.database.reading() as session:
            counts = job_counts(session)
        return sum(counts[status] for status in ENDED)

    def wait_for(self, count: int) -> None:
        """Return when that many jobs have ended.

        Raises:
            BenchmarkFailed: Nothing goes on any more, or a job has failed.
        """
        seen, since = -1, time.monotonic()
        while (ended := self.ended()) < count:
            if ended > seen:
                seen, since = ended, time.monotonic()
            if time.monotonic() - since > _STANDSTILL or self.process.poll() is not None:
                raise BenchmarkFailed(f"{count - ended} jobs have not ended; {self.settings.logs} says why.")
            time.sleep(0.2)
        with self.database.reading() as session:
            counts = job_counts(session)
        if bad := sum(counts[status] for status in ENDED if status != JobStatus.DONE):
            raise BenchmarkFailed(f"{bad} jobs have failed.")

    def seconds_since(self, radiograph_id: int, source: Source = Source.INBOX) -> float:
        """Return the time from the first `received_at` to the last `finished_at` after a radiograph, of one source."""
        wanted = RadiographRow.id > radiograph_id, RadiographRow.source == source
        with self.database.reading() as session:
            began = session.scalar(select(func.min(RadiographRow.received_at)).where(*wanted))
            finished = session.scalar(
                select(func.max(JobRow.finished_at))
                .join(RadiographRow, RadiographRow.id == JobRow.radiograph_id)
                .where(*wanted)
            )
        if began is None or finished is None:
            raise BenchmarkFailed("No radiograph came in.")
        return (finished - began).total_seconds()

    def newest(self) -> int:
        """Return the id of the newest radiograph, 0 if there is none."""
        with self.database.reading() as session:
            return session.scalar(select(func.max(RadiographRow.id))) or 0

    def drop(self, files: list[Path]) -> None:
        """Put a folder's files into the inbox at once: renames, as a user who moves them."""
        for file in files:
            file.rename(self.settings.inbox / file.name)


@contextmanager
def running(home: Path, models: Path, **changes: str) -> Iterator[System]:
    """Start `fracture-queue up` and stop it.

    Args:
        home: Its folder; made.
        models: Bundles, all of which are active.
        changes: Further settings, by the names of their variables.

    Raises:
        BenchmarkFailed: It does not get ready.
    """
    environment = {
        **without_ours(os.environ),
        "FRACTURE_HOME": str(home),
        "FRACTURE_MODELS": str(models),
        "FRACTURE_PORT": str(free_port()),
        **changes,
    }
    settings = Settings.from_env(environment)
    home.mkdir(parents=True)
    with (home / "up.out").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "cli.main", "up"], env=environment, stdout=output, stderr=output
        )
    system = System(settings, Database(settings.database_url), process)
    try:
        wait_until(lambda: _answers(f"{system.page}/readyz"), _START, "the system is ready")
        yield system
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=_STOP)
        system.database.dispose()


@contextmanager
def paused(processes: Sequence[psutil.Process]) -> Iterator[None]:
    """Stop processes from running for a while; they notice nothing."""
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            process.resume()


def _own_seconds(process: psutil.Process) -> float:
    spent = process.cpu_times()
    return float(spent.user + spent.system)


def wait_until(holds: Callable[[], bool], seconds: float, what: str) -> None:
    """Look again and again until something holds.

    Raises:
        BenchmarkFailed: It does not in that time.
    """
    until = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > until:
            raise BenchmarkFailed(f"Not after {seconds:g} s: {what}.")
        time.sleep(0.1)


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=2) as answer:  # noqa: S310 - our own page
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False


def without_ours(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without this program's settings."""
    return {name: value for name, value in environment.items() if not name.startswith("FRACTURE_")}
