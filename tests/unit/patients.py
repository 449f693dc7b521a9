"""An installation for the doctor to look at, and a broker that stands in for the real one."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from core.database import Database, now
from core.errors import BrokerUnavailable
from core.records.workers import Identity, beat
from core.settings import Settings
from core.storage import FolderStore
from core.tables import ArrivalRow, JobRow, RadiographRow
from tests.unit.desk import Clock, Desk
from worker.doctor.ailments import Premises
from worker.doctor.examination import Verdict, examine

WORKER = Identity("worker", "test", 1)


class Broker:
    """Stands in for the one that `core.queue` talks to; the real one is asked in `tests/integration/test_doctor.py`."""

    def __init__(self) -> None:
        self.rung = 0
        self.away = False

    def announced(self) -> int:
        if self.away:
            raise BrokerUnavailable
        return 0

    def ring(self, jobs: int, _settings: Settings) -> None:
        self.rung += jobs


@pytest.fixture(autouse=True)
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    broker = Broker()
    monkeypatch.setattr("worker.reconciler.announced", broker.announced)
    monkeypatch.setattr("worker.reconciler.ring", broker.ring)
    monkeypatch.setattr("worker.doctor.queue_checks.announced", broker.announced)
    return broker


@pytest.fixture
def desk(settings: Settings, database: Database, clock: Clock, model_id: int) -> Desk:
    return Desk(settings, database, clock)


def premises(desk: Desk, *, deep: bool = False) -> Premises:
    return Premises(desk.settings, desk.database, store_of(desk), "doctor:test", deep=deep)


def store_of(desk: Desk) -> FolderStore:
    return FolderStore.at(desk.settings.store_url)


def found(desk: Desk, *, fix: bool = False, deep: bool = False) -> dict[str, Verdict]:
    """Return what is found by the checks that find something."""
    return {each.check: each for each in examine(premises(desk, deep=deep), fix=fix) if each.found}


def age(path: Path, seconds: float) -> None:
    past = time.time() - seconds
    os.utime(path, (past, past))


def let_pass(desk: Desk, seconds: float) -> None:
    """Let rows and files look as if everything had happened so much earlier."""
    with desk.database.transaction() as session:
        past = now(session) - timedelta(seconds=seconds)
        session.execute(update(JobRow).values(available_at=past, rung_at=None))
        session.execute(update(JobRow).where(JobRow.lease_until.is_not(None)).values(lease_until=past))
        session.execute(update(JobRow).where(JobRow.finished_at.is_not(None)).values(finished_at=past))
        session.execute(update(ArrivalRow).values(received_at=past))
    for folder in (desk.settings.processing, desk.settings.store_path):
        assert folder is not None
        for path in sorted(folder.rglob("*"), reverse=True):
            age(path, seconds)


def report(desk: Desk, who: Identity) -> None:
    with desk.database.transaction() as session:
        beat(session, who, engine="fake")


def path_of(desk: Desk, radiograph_id: int) -> Path:
    with desk.database.reading() as session:
        key = session.scalars(select(RadiographRow.storage_key).where(RadiographRow.id == radiograph_id)).one()
    return store_of(desk).path(key)


def run_together(*steps: Callable[[], None]) -> None:
    problems: list[BaseException] = []

    def run(step: Callable[[], None]) -> None:
        try:
            step()
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=run, args=(step,)) for step in steps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert not any(thread.is_alive() for thread in threads)
    if problems:
        raise problems[0]
