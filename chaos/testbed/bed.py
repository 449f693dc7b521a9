"""The machines of a department: one with the services, one with inbox, page and clock, and workers."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

from sqlalchemy import func, select

from benchmarks.system import without_ours
from chaos.testbed.network import Host, Network, start, stop
from chaos.testbed.services import ask_store, start_services
from chaos.trial import TrialFailed, wait_until
from core.database import Database
from core.records.counters import job_counts
from core.settings import Settings
from core.tables import ENDED, JobRow, JobStatus, WorkerRow

_PROGRAM = [sys.executable, "-m", "cli.main"]
_STOP_SECONDS = 30.0


class Bed:
    """All machines, and what the database says of them."""

    def __init__(self, network: Network, folder: Path, told: dict[str, str], services: Host) -> None:
        """Make the front; workers are added."""
        self._network, self._folder, self._told = network, folder, told
        self.front = network.add("front", folder / "front")
        self.hosts = [services, self.front]
        self._host_of: dict[str, str] = {}  # a worker process's name to its machine's
        self.settings = Settings.from_env(self._environment(self.front))
        self.database = Database(self.settings.database_url)

    def start_front(self) -> None:
        """Make the tables and start what a department has one of."""
        said = subprocess.run(
            self._network.within(self.front, [*_PROGRAM, "migrate"]),
            env=self._environment(self.front),
            capture_output=True,
            text=True,
            check=False,
        )
        if said.returncode:
            raise TrialFailed(f"The tables could not be made: {said.stderr.strip()}")
        for role in ("inbox", "web", "beat"):
            self._start(self.front, role)

    def add_worker(self, name: str) -> Host:
        """Add a machine with a worker; return when it has reported."""
        host = self._network.add(name, self._folder / name)
        self.hosts.append(host)
        before = self._workers()
        self._start(host, "worker")
        wait_until(lambda: self._workers() > before, f"the worker on {name} reports")
        return host

    def cut(self, host: Host) -> None:
        """Cut a machine off from all others."""
        self._network.cut(host)

    def join(self, host: Host) -> None:
        """End that."""
        self._network.join(host)

    def ended(self) -> int:
        """Return how many jobs have ended."""
        with self.database.reading() as session:
            counts = job_counts(session)
        return sum(counts[status] for status in ENDED)

    def holding(self) -> Counter[str]:
        """Return how many running jobs each machine holds, as far as the database knows."""
        return self._by_machine(JobStatus.RUNNING)

    def answered(self) -> Counter[str]:
        """Return how many jobs each machine answered."""
        return self._by_machine(JobStatus.DONE)

    def begun_again(self) -> int:
        """Return how many jobs were begun more than once."""
        with self.database.reading() as session:
            return session.scalar(select(func.count()).select_from(JobRow).where(JobRow.attempts > 1)) or 0

    def original(self, key: str) -> bytes | None:
        """Read an original past the program, as any client of the store would."""
        bucket, prefix = self.settings.bucket or ("", "")
        status, content = ask_store(self.hosts[0], "GET", "/".join(filter(None, (bucket, prefix, key))))
        return content if status == HTTPStatus.OK else None

    def left(self) -> int:
        """Return how many files lie neither in done/ nor in failed/."""
        folders = self.settings.inbox, self.settings.processing
        return sum(path.is_file() and path.name != ".lock" for folder in folders for path in folder.rglob("*"))

    def last_words(self) -> str:
        """Return the end of each log that says something."""
        found = []
        for host in self.hosts:
            for log in sorted(host.home.glob("*.log")):
                lines = log.read_text(errors="replace").strip().splitlines()
                found += [f"{host.name}, {log.stem}: {line}" for line in lines[-3:]]
        return "\n".join(found)

    def close(self) -> None:
        """End everything."""
        self.database.dispose()
        stop(self.hosts, _STOP_SECONDS)

    def _start(self, host: Host, role: str) -> None:
        start(self._network, host, [*_PROGRAM, role], self._environment(host), role)

    def _environment(self, host: Host) -> dict[str, str]:
        return without_ours(os.environ) | self._told | {"FRACTURE_HOME": str(host.home)}

    def _workers(self) -> int:
        with self.database.reading() as session:
            return session.scalar(select(func.count()).select_from(WorkerRow).where(WorkerRow.role == "worker")) or 0

    def _by_machine(self, status: JobStatus) -> Counter[str]:
        pids = {process.pid: host.name for host in self.hosts for process in host.family()}
        with self.database.reading() as session:
            rows = session.execute(
                select(JobRow.worker, func.count()).where(JobRow.status == status).group_by(JobRow.worker)
            ).all()
        found: Counter[str] = Counter()
        for worker, number in rows:
            _, _, place = str(worker).partition("@")
            named, _, pid = place.rpartition(":")
            if named in {host.name for host in self.hosts}:
                self._host_of[str(worker)] = named
            elif int(pid) in pids:  # without namespaces all have one name, and one numbering of processes
                self._host_of[str(worker)] = pids[int(pid)]
            found[self._host_of.get(str(worker), "unknown")] += number
        return found


@contextmanager
def department(network: Network, folder: Path, *, processes: int) -> Iterator[Bed]:
    """Start services and front; stop everything in the end.

    Args:
        network: Joins the hosts.
        folder: An empty folder that every user may enter: PostgreSQL runs as one of its own.
        processes: Of each worker.
    """
    services = network.add("services", folder / "services")
    bed = None
    try:
        told = start_services(network, services) | {
            "FRACTURE_WORKER_PROCESSES": str(processes),
            # The same for all: what one signs or hashes another one has to know.
            "FRACTURE_SECRET_KEY": secrets.token_hex(32),
            "FRACTURE_PSEUDONYM_KEY": secrets.token_hex(32),
        }
        bed = Bed(network, folder, told, services)
        bed.start_front()
        yield bed
    finally:
        bed.close() if bed is not None else stop([services], _STOP_SECONDS)
