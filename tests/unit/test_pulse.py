import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from core.database import Database, now
from core.errors import DatabaseUnavailable
from core.records.workers import FORGET_AFTER, Identity, beat, idle_workers, living, sign_off
from core.settings import Settings
from core.storage import FolderStore
from core.tables import JobRow, WorkerRow
from tests.conftest import wait_until
from tests.fakes import claimed, jobs_of, take_in
from worker.context import WorkerContext
from worker.pulse import Pulse

WHO = Identity(role="worker", host="test", pid=7)


@pytest.fixture
def context(settings: Settings, database: Database) -> WorkerContext:
    fast = settings.with_changes(heartbeat_seconds=0.05, lease_seconds=60)
    return WorkerContext(fast, database, FolderStore(Path("/nowhere")), WHO)


@pytest.fixture
def pulse(context: WorkerContext) -> Iterator[Pulse]:
    pulse = Pulse(context)
    pulse.start()
    yield pulse
    pulse.stop()


def workers(database: Database) -> list[WorkerRow]:
    with database.reading() as session:
        return list(session.scalars(select(WorkerRow)))


def lease_end(database: Database) -> Any:
    return jobs_of(database)[0].lease_until


def test_a_process_is_seen_from_its_start_and_gone_after_its_end(context: WorkerContext, database: Database) -> None:
    pulse = Pulse(context)
    pulse.start()
    wait_until(lambda: len(workers(database)) == 1, within_seconds=30, what="the first beat")
    (row,) = workers(database)
    assert (row.name, row.role, row.pid, row.engine, row.holds) == ("worker@test:7", "worker", 7, "litert", 0)
    assert row.memory_bytes > 0
    pulse.stop()
    assert workers(database) == []


def test_the_lease_is_renewed_while_a_claim_is_in_hand_and_not_after(
    pulse: Pulse, database: Database, model_id: int
) -> None:
    take_in(database, 1, 2)
    taken = claimed(database, model_id, lease=5)
    first = lease_end(database)
    with pulse.holding(taken):
        wait_until(lambda: lease_end(database) > first, within_seconds=30, what="the lease is renewed")
        wait_until(lambda: workers(database)[0].holds == 2, within_seconds=30, what="what it holds is told")
        assert workers(database)[0].held_since is not None
    wait_until(lambda: workers(database)[0].holds == 0, within_seconds=30, what="it holds nothing")
    last = lease_end(database)
    seen = workers(database)[0].seen_at
    wait_until(lambda: workers(database)[0].seen_at > seen, within_seconds=30, what="another beat")
    assert lease_end(database) == last
    assert workers(database)[0].held_since is None


def test_a_lease_is_never_renewed_past_the_time_limit_of_a_batch(
    settings: Settings, database: Database, model_id: int
) -> None:
    limited = settings.with_changes(heartbeat_seconds=0.05, lease_seconds=60, batch_limit_seconds=0.01)
    pulse = Pulse(WorkerContext(limited, database, FolderStore(Path("/nowhere")), WHO))
    take_in(database, 1)
    taken = claimed(database, model_id, lease=5)
    first = lease_end(database)
    with pulse.holding(taken):
        threading.Event().wait(0.05)
        pulse.start()
        wait_until(lambda: len(workers(database)) == 1, within_seconds=30, what="a beat")
        seen = workers(database)[0].seen_at
        wait_until(lambda: workers(database)[0].seen_at > seen, within_seconds=30, what="another beat")
        assert lease_end(database) == first
    pulse.stop()


@pytest.mark.parametrize("error", [DatabaseUnavailable(), RuntimeError("a bug")])
def test_nothing_stops_the_beating(
    error: Exception,
    pulse: Pulse,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    wait_until(lambda: len(workers(database)) == 1, within_seconds=30, what="the first beat")

    def fail(*_: Any, **__: Any) -> None:
        raise error

    with monkeypatch.context() as broken:
        broken.setattr("worker.pulse.beat", fail)
        wait_until(lambda: caplog.text.lower().count("beating goes on") >= 2, within_seconds=30, what="two failures")
    seen = workers(database)[0].seen_at
    wait_until(lambda: workers(database)[0].seen_at > seen, within_seconds=30, what="it beats again")


def test_a_worker_is_idle_when_it_lives_and_holds_no_job(database: Database, model_id: int) -> None:
    take_in(database, 1)
    for pid in (1, 2):
        with database.transaction() as session:
            beat(session, Identity("worker", "test", pid), engine="fake")
            beat(session, Identity("inbox", "test", 3), engine="")
    claimed(database, model_id, worker="worker@test:1")
    with database.reading() as session:
        assert idle_workers(session, within_seconds=60) == ["worker@test:2"]
        assert idle_workers(session, within_seconds=0) == []
    with database.transaction() as session:
        session.execute(update(JobRow).values(lease_token=None, status="done"))
    with database.reading() as session:
        assert len(idle_workers(session, within_seconds=60)) == 2
        assert [row.name for row in living(session, role="inbox", within_seconds=60)] == ["inbox@test:3"]


def test_who_signs_off_takes_the_long_silent_along(database: Database) -> None:
    with database.transaction() as session:
        for pid in (1, 2, 3):
            beat(session, Identity("worker", "test", pid), engine="fake")
        long_ago = now(session) - FORGET_AFTER - timedelta(seconds=1)
        session.execute(update(WorkerRow).where(WorkerRow.pid == 2).values(seen_at=long_ago))
        sign_off(session, Identity("worker", "test", 1))
    assert [row.pid for row in workers(database)] == [3]
