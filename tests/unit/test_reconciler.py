import threading
from datetime import timedelta

import pytest
from sqlalchemy import update

from core.database import Database, now
from core.errors import BrokerUnavailable
from core.records.deaths import Verdict
from core.records.figures import queue_figures
from core.records.jobs import take_unheard
from core.records.workers import Identity, beat
from core.settings import Settings
from core.tables import JobRow, JobStatus
from tests.fakes import claimed, die, jobs_of, let_leases_run_out, take_in
from worker.reconciler import Reconciled, reconcile

IDLE = Identity(role="worker", host="test", pid=9)
NOTHING = Reconciled(returned=0, quarantined=0, announced_again=0)


class Broker:
    """Stands in for the one that `core.queue` talks to."""

    def __init__(self) -> None:
        self.waiting = 0  # bells that no worker has taken
        self.rung: list[int] = []
        self.away = False

    def announced(self) -> int:
        if self.away:
            raise BrokerUnavailable
        return self.waiting

    def ring(self, jobs: int, _settings: Settings) -> None:
        if self.away:
            raise BrokerUnavailable
        self.rung.append(jobs)


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    broker = Broker()
    monkeypatch.setattr("worker.reconciler.announced", broker.announced)
    monkeypatch.setattr("worker.reconciler.ring", broker.ring)
    return broker


@pytest.fixture
def patient(settings: Settings) -> Settings:
    return settings.with_changes(bell_patience_seconds=30)


@pytest.fixture
def idle_worker(database: Database) -> None:
    with database.transaction() as session:
        beat(session, IDLE, engine="fake")


def tick(settings: Settings, database: Database) -> Reconciled:
    return reconcile(settings, database, "reconciler")


def let_time_pass(database: Database, seconds: float) -> None:
    with database.transaction() as session:
        past = now(session) - timedelta(seconds=seconds)
        session.execute(update(JobRow).values(available_at=past))
        session.execute(update(JobRow).where(JobRow.rung_at.is_not(None)).values(rung_at=past))


@pytest.mark.usefixtures("idle_worker")
def test_a_quiet_queue_is_left_alone(patient: Settings, database: Database, model_id: int, broker: Broker) -> None:
    take_in(database, 1)
    assert tick(patient, database) == NOTHING
    assert broker.rung == []


@pytest.mark.usefixtures("idle_worker")
def test_the_work_of_a_dead_worker_is_returned_and_announced_at_once(
    patient: Settings, database: Database, model_id: int, broker: Broker
) -> None:
    take_in(database, 1, 2)
    claimed(database, model_id, worker="dead@test:1")
    let_leases_run_out(database)
    assert tick(patient, database) == Reconciled(returned=2, quarantined=0, announced_again=2)
    assert broker.rung == [2]
    assert tick(patient, database) == NOTHING


@pytest.mark.usefixtures("idle_worker")
def test_a_job_that_killed_its_workers_is_counted_as_quarantined(
    patient: Settings, database: Database, model_id: int, broker: Broker
) -> None:
    take_in(database, 1)
    for _ in range(2):
        claimed(database, model_id)
        assert list(die(database).values()) == [Verdict.RETURNED]
    claimed(database, model_id)
    let_leases_run_out(database)
    assert tick(patient, database) == Reconciled(returned=0, quarantined=1, announced_again=0)
    assert broker.rung == []


@pytest.mark.usefixtures("idle_worker")
def test_waiting_work_that_nobody_was_told_of_is_announced_again_once_per_patience(
    patient: Settings, database: Database, model_id: int, broker: Broker
) -> None:
    take_in(database, 1, 2, 3)
    let_time_pass(database, 31)
    assert tick(patient, database).announced_again == 3
    assert tick(patient, database).announced_again == 0
    let_time_pass(database, 31)
    assert tick(patient, database).announced_again == 3
    assert broker.rung == [3, 3]


@pytest.mark.usefixtures("idle_worker")
def test_work_is_not_announced_again_while_a_bell_is_waiting(
    patient: Settings, database: Database, model_id: int, broker: Broker
) -> None:
    take_in(database, 1)
    let_time_pass(database, 3600)
    broker.waiting = 1
    assert tick(patient, database) == NOTHING
    broker.waiting = 0
    assert tick(patient, database).announced_again == 1


@pytest.mark.usefixtures("idle_worker")
def test_a_clock_that_was_put_back_makes_nothing_wait_until_it_is_there_again(
    patient: Settings, database: Database, model_id: int, broker: Broker
) -> None:
    # given: one job in the hand of a worker that is dead, one that waits, and then the clock is put back by an hour
    take_in(database, 1, 2)
    claimed(database, model_id, limit=1)
    hour = timedelta(hours=1)
    with database.transaction() as session:
        at = now(session)
        session.execute(update(JobRow).values(created_at=at + hour, available_at=at + hour, rung_at=at + hour))
        session.execute(
            update(JobRow).where(JobRow.status == JobStatus.RUNNING).values(started_at=at + hour, lease_until=at + hour)
        )
    # when: the reconciler comes once, and again after a lease
    assert tick(patient, database) == NOTHING
    held, waiting = jobs_of(database)
    # then: the one holds for a lease from now on, the other can be claimed
    assert held.lease_until is not None
    assert held.lease_until <= at + timedelta(seconds=patient.lease_seconds + 60)
    assert waiting.available_at <= waiting.created_at <= at + timedelta(seconds=60)
    let_leases_run_out(database)
    assert tick(patient, database) == Reconciled(returned=1, quarantined=0, announced_again=2)
    assert broker.rung == [2]


def test_no_wait_is_negative_after_the_clock_was_put_back(database: Database, model_id: int) -> None:
    take_in(database, 1)
    with database.transaction() as session:
        session.execute(update(JobRow).values(created_at=now(session) + timedelta(hours=1)))
    with database.reading() as session:
        assert queue_figures(session, Settings()).oldest_waiting_seconds == 0
    [job] = claimed(database, model_id).jobs
    assert job.waited_ms == 0


@pytest.mark.usefixtures("idle_worker")
@pytest.mark.parametrize("written_ahead", ["rung_at", "available_at"])
def test_a_bell_or_a_retry_of_a_clock_since_put_back_counts_as_unheard(
    written_ahead: str, patient: Settings, database: Database, model_id: int, broker: Broker
) -> None:
    take_in(database, 1)
    with database.transaction() as session:
        session.execute(update(JobRow).values({written_ahead: now(session) + timedelta(hours=1)}))
    assert tick(patient, database).announced_again == 1
    assert tick(patient, database) == NOTHING
    assert claimed(database, model_id).jobs


def test_a_long_wait_behind_busy_workers_is_healthy(
    patient: Settings, database: Database, model_id: int, broker: Broker
) -> None:
    # given: the only worker has one job in hand, the other has waited for an hour
    take_in(database, 1, 2)
    with database.transaction() as session:
        beat(session, IDLE, engine="fake", holds=1)
    let_time_pass(database, 3600)
    claimed(database, model_id, limit=1, worker=str(IDLE))
    # when, then
    assert tick(patient, database) == NOTHING
    assert [job.status for job in jobs_of(database)] == [JobStatus.RUNNING, JobStatus.WAITING]


def test_without_any_worker_nothing_is_rung_into_the_void(
    patient: Settings, database: Database, model_id: int, broker: Broker
) -> None:
    take_in(database, 1)
    let_time_pass(database, 3600)
    assert tick(patient, database) == NOTHING


@pytest.mark.usefixtures("idle_worker")
def test_work_that_pauses_after_a_passing_failure_is_announced_when_its_pause_is_over(
    patient: Settings, database: Database, model_id: int, broker: Broker
) -> None:
    take_in(database, 1)
    with database.transaction() as session:
        session.execute(update(JobRow).values(available_at=now(session) + timedelta(seconds=60)))
    assert tick(patient, database) == NOTHING
    let_time_pass(database, 31)
    assert tick(patient, database).announced_again == 1


@pytest.mark.usefixtures("idle_worker")
def test_a_broker_that_is_away_ends_the_tick_but_not_the_returning(
    patient: Settings, database: Database, model_id: int, broker: Broker
) -> None:
    take_in(database, 1)
    claimed(database, model_id)
    let_leases_run_out(database)
    broker.away = True
    with pytest.raises(BrokerUnavailable):
        tick(patient, database)
    (job,) = jobs_of(database)
    assert (job.status, job.deaths, job.rung_at) == (JobStatus.WAITING, 1, None)
    # and when it is back, the work is announced
    broker.away = False
    let_time_pass(database, 31)
    assert tick(patient, database).announced_again == 1


@pytest.mark.usefixtures("idle_worker")
def test_a_bell_that_could_not_be_rung_is_rung_after_the_next_patience(
    patient: Settings, database: Database, model_id: int, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_in(database, 1)
    let_time_pass(database, 31)
    monkeypatch.setattr("worker.reconciler.announced", lambda: 0)  # the broker goes away between question and bell
    broker.away = True
    with pytest.raises(BrokerUnavailable):
        tick(patient, database)
    broker.away = False
    let_time_pass(database, 31)
    assert tick(patient, database).announced_again == 1


@pytest.mark.usefixtures("idle_worker")
def test_two_reconcilers_at_once_return_each_job_once_and_somebody_rings(
    patient: Settings, database: Database, model_id: int, broker: Broker
) -> None:
    take_in(database, *range(10))
    claimed(database, model_id, limit=4)
    let_leases_run_out(database)
    start, found = threading.Barrier(2), []

    def look() -> None:
        start.wait()
        found.append(tick(patient, database))

    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert sum(each.returned for each in found) == 4
    assert broker.rung
    assert {job.deaths for job in jobs_of(database)} == {0, 1}


def test_of_three_callers_at_once_one_has_to_ring(database: Database, model_id: int) -> None:
    take_in(database, *range(10))
    let_time_pass(database, 60)
    start, found = threading.Barrier(3), []

    def look() -> None:
        start.wait()
        with database.transaction() as session:
            found.append(take_unheard(session, 30))

    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert sorted(found) == [0, 0, 10]
