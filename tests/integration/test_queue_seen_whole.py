"""The queue's figures while things break: every sample adds up, who is wedged or dead is named, nobody else is."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import select

from core.broker_watch import BrokerWatch
from core.overview import Overview
from core.records.figures import QueueFigures
from core.states import WorkerState
from core.tables import JobRow, JobStatus
from tests.conftest import wait_until
from tests.fakes import black_png
from tests.integration.parts import PATIENCE, Installation, RedisServer, children_of, kill, talking_to

#: What a reader may have to wait for the name of whoever is in trouble; with default timers too.
NAMED_WITHIN = 30.0


class Watcher:
    """Somebody who looks at the figures every second and notes what they say."""

    def __init__(self, installation: Installation, jobs: int) -> None:
        self._overview = Overview(installation.settings, installation.database)
        self._jobs = jobs
        self.killed: set[int] = set()
        self.samples = 0
        self.wrong: list[str] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(timeout=PATIENCE)

    def look(self) -> QueueFigures:
        killed = set(self.killed)  # before the look: who is killed meanwhile may be seen either way
        figures = self._overview.figures()
        self.samples += 1
        if sum(figures.counts.values()) != self._jobs:
            self.wrong.append(f"{figures.counts} are not {self._jobs}")
        dead = {pid_of(each.name) for each in figures.processes if each.state == WorkerState.DEAD}
        if dead - killed - self.killed:
            self.wrong.append(f"called dead: {[each for each in figures.processes if each.state == WorkerState.DEAD]}")
        return figures

    def _run(self) -> None:
        while not self._ended.wait(1.0):
            self.look()

    def wait_for(self, pid: int, state: WorkerState) -> float:
        """Wait until a process is named; return after how many seconds."""
        began = time.monotonic()
        wait_until(
            lambda: any(pid_of(each.name) == pid and each.state == state for each in self.look().processes),
            within_seconds=NAMED_WITHIN,
            what=f"process {pid} is called {state}",
        )
        return time.monotonic() - began


def pid_of(name: str) -> int:
    return int(name.rpartition(":")[2])


def busy_process_of(worker: subprocess.Popen[bytes], installation: Installation) -> int:
    """Wait until a process of this worker has work in hand."""
    found: list[int] = []

    def looked() -> bool:
        with installation.database.reading() as session:
            names = session.scalars(select(JobRow.worker).where(JobRow.status == JobStatus.RUNNING).distinct()).all()
        found[:] = [pid_of(name) for name in names if name and pid_of(name) in children_of(worker.pid)]
        return bool(found)

    wait_until(looked, within_seconds=PATIENCE, what="the first worker has work in hand")
    return found[0]


@pytest.fixture
def two_workers(installation: Installation) -> Iterator[tuple[subprocess.Popen[bytes], subprocess.Popen[bytes]]]:
    installation.start("beat")
    with talking_to(installation.settings):
        yield installation.start_worker(), installation.start_worker()


@pytest.mark.long
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("jobs", [200, pytest.param(2000, marks=pytest.mark.timeout(1800))])
def test_figures_add_up_and_name_who_is_in_trouble_while_workers_hang_and_die_and_redis_restarts(
    jobs: int,
    installation: Installation,
    redis: RedisServer,
    two_workers: tuple[subprocess.Popen[bytes], subprocess.Popen[bytes]],
) -> None:
    first, second = two_workers
    side = 1000 if jobs == 200 else 400
    pictures = [black_png(side + number, side) for number in range(jobs)]
    for start in range(0, jobs, 500):
        installation.take_in(*pictures[start : start + 500])
    with Watcher(installation, jobs) as watcher:
        # when: a process of the first worker hangs with work in hand, and the second worker's main process too
        hanging, family = busy_process_of(first, installation), children_of(second.pid)
        kill([hanging, second.pid], signal.SIGSTOP)
        watcher.wait_for(hanging, WorkerState.WEDGED)
        watcher.wait_for(second.pid, WorkerState.WEDGED)
        # and: the broker is restarted
        redis.kill()
        wait_until(lambda: watcher.look().broker.answers is False, within_seconds=NAMED_WITHIN, what="it is away")
        redis.start()
        wait_until(lambda: bool(watcher.look().broker.answers), within_seconds=NAMED_WITHIN, what="it is back")
        # and: the second worker is killed
        watcher.killed |= {second.pid, *family}
        kill([second.pid])
        second.wait(timeout=PATIENCE)
        watcher.wait_for(second.pid, WorkerState.DEAD)
        # then
        kill([hanging], signal.SIGCONT)
        wait_until(
            lambda: watcher.look().counts[JobStatus.DONE] == jobs,
            within_seconds=PATIENCE + jobs / 2,
            what="all are done",
        )
    assert watcher.wrong == []
    assert watcher.samples > 10


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_broker_that_hangs_is_away(redis: RedisServer, installation: Installation) -> None:
    watch = BrokerWatch()

    def answers(value: bool | None) -> Callable[[], bool]:
        return lambda: watch.latest().answers is value

    with talking_to(installation.settings):
        wait_until(answers(True), within_seconds=PATIENCE, what="it answers")
        assert redis._process is not None
        kill([redis._process.pid], signal.SIGSTOP)
        try:
            began = time.monotonic()
            wait_until(answers(False), within_seconds=NAMED_WITHIN, what="it hangs")
            assert time.monotonic() - began < NAMED_WITHIN
        finally:
            kill([redis._process.pid], signal.SIGCONT)
        wait_until(answers(True), within_seconds=PATIENCE, what="it is back")
