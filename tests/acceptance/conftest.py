"""A whole installation: `fracture-queue up` as a user starts it, in a temporary home."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from core.database import Database
from core.ports import free_port
from core.settings import Settings
from core.tables import JobRow, JobStatus
from tests.conftest import FAST, PROJECT, ten_class_folder, wait_until

COMMAND = [sys.executable, "-m", "cli.main"]


def children_of(pid: int) -> list[int]:
    """Direct children, from /proc."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[1]) == pid and fields[0] != "Z":
                found.append(int(entry.name))
    return found


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


class Installation:
    """What a user sees of it: folders, commands, the page's address."""

    def __init__(self, home: Path, extra: dict[str, str] | None = None) -> None:
        self.home = home
        self.port = free_port()
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("FRACTURE_")},
            **FAST,
            "FRACTURE_HOME": str(home),
            "FRACTURE_PORT": str(self.port),
            "FRACTURE_MODELS": str(ten_class_folder()),
            **(extra or {}),
        }
        self.settings = Settings.from_env(self.environment)
        self.process: subprocess.Popen[str] | None = None
        self._database: Database | None = None
        self._output = home.parent / "up.out"

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        with self._output.open("w") as output:
            self.process = subprocess.Popen(
                [*COMMAND, "up"], env=self.environment, cwd=PROJECT, stdout=output, stderr=output, text=True
            )
        try:
            wait_until(lambda: self.has_ended() or "is ready" in self.said(), within_seconds=120, what="up is ready")
        except AssertionError:
            self.stop()  # nobody else would
            raise
        assert not self.has_ended(), self.said()

    def said(self) -> str:
        return self._output.read_text()

    def has_ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        if self._database is not None:
            self._database.dispose()
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout=60)

    def run(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *arguments],
            env=self.environment,
            cwd=PROJECT,
            capture_output=True,
            text=True,
            timeout=120,
            **options,
        )

    def queue(self) -> dict[str, Any]:
        result: dict[str, Any] = json.loads(self.run("queue", "--json").stdout)
        return result

    def count(self, *statuses: JobStatus) -> int:
        """Count jobs. Who waits asks here: a command each time would take the processor from what is waited for."""
        if self._database is None:
            self._database = self.database()
        with self._database.reading() as session:
            return session.scalar(select(func.count()).select_from(JobRow).where(JobRow.status.in_(statuses))) or 0

    def wait_for_done(self, jobs: int, *, within_seconds: float = 60) -> None:
        wait_until(
            lambda: self.count(JobStatus.DONE) == jobs, within_seconds=within_seconds, what=f"{jobs} jobs are done"
        )

    def results(self, *arguments: str) -> list[dict[str, Any]]:
        result: list[dict[str, Any]] = json.loads(self.run("results", "--format", "json", *arguments).stdout)
        return result

    def drop(self, *files: Path) -> None:
        """Copy files and folders into the inbox with one `cp`, as a person would."""
        subprocess.run(["cp", "-r", "-t", str(self.settings.inbox), "--", *map(str, files)], check=True)

    def role(self, name: str) -> int:
        """Return a role's process id."""
        assert self.process is not None
        wanted = "redis-server" if name == "redis" else f"cli.main {name}"
        for pid in children_of(self.process.pid):
            try:
                if wanted in Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode():
                    return pid
            except (FileNotFoundError, ProcessLookupError):
                continue
        raise LookupError(name)

    def roles_alive(self) -> set[str]:
        alive = set()
        for name in ("redis", "web", "inbox", "worker", "beat"):
            try:
                alive.add(name)
                self.role(name)
            except LookupError:
                alive.discard(name)
        return alive

    def family(self) -> list[int]:
        """All processes below `up`."""
        assert self.process is not None
        found, left = [], [self.process.pid]
        while left:
            below = children_of(left.pop())
            found += below
            left += below
        return found

    def database(self) -> Database:
        return Database(self.settings.database_url)


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    """An installation of the test's own, which may be hurt."""
    with running(tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def shared_installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """One installation for all tests of a file that hurt nothing; a start takes ten seconds of processor time."""
    with running(tmp_path_factory.mktemp("shared")) as made:
        yield made


@contextmanager
def running(folder: Path) -> Iterator[Installation]:
    made = Installation(folder / "home")
    made.start()
    yield made
    made.stop()
    for log in (made.home / "logs").glob("*.log"):
        print(f"--- {log.name}\n{log.read_text(errors='replace')[-8000:]}")  # noqa: T201 - shown where a test failed


@pytest.fixture(scope="session")
def manifest(data_folder: Path) -> list[dict[str, str]]:
    with (data_folder / "bone-break" / "MANIFEST.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    return [{**row, "path": str(data_folder / "bone-break" / row["path"])} for row in rows]


@pytest.fixture(scope="session")
def test_radiographs(manifest: list[dict[str, str]]) -> list[Path]:
    """The files of the leak-free test split."""
    return [Path(row["path"]) for row in manifest if row["split"] == "test"]
