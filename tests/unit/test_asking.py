"""One more model is asked about a radiograph: once, whoever asks how often, and lists go on showing the active one."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import func, select, update

from core.database import Database
from core.errors import ModelNotInstalled, NotFound
from core.records.asking import Asked, ask_model, models_not_asked
from core.records.claims import Outcome, store_outcomes
from core.records.filters import Filters
from core.records.results import get_result, list_results
from core.tables import JobRow, JobStatus, ModelVersionRow
from tests.conftest import add_model
from tests.fakes import claimed, event_kinds, some_answer, take_in

LABELS = ("oblique", "spiral")


@pytest.fixture
def asleep(database: Database, model_id: int) -> int:
    """A model that is installed and not active, and one radiograph that the active one has answered."""
    take_in(database, 1)
    answer(database, model_id, "spiral")
    return add_model(database, "asleep", active=False)


def answer(database: Database, model: int, label: str) -> None:
    taken = claimed(database, model)
    with database.transaction() as session:
        outcomes = [Outcome(job=job, answer=some_answer(label, LABELS)) for job in taken.jobs]
        store_outcomes(session, taken, outcomes, "w@test:1")


def ask(database: Database, model: str = "asleep", radiograph: int = 1) -> Asked:
    with database.transaction() as session:
        return ask_model(session, radiograph, model, actor="user:anna")


def test_an_inactive_model_is_asked_once(database: Database, model_id: int, asleep: int) -> None:
    first, again = ask(database), ask(database, "asleep/1.0.0")
    assert (first.new, first.status, first.model) == (True, JobStatus.WAITING, "asleep/1.0.0")
    assert (again.new, again.job) == (False, first.job)
    assert event_kinds(database, 1).count("asked") == 1
    assert claimed(database, model_id, asleep).model_version_id == asleep
    with database.reading() as session:
        assert models_not_asked(session, 1) == []


def test_of_several_who_ask_at_once_all_get_the_same_job(database: Database, asleep: int) -> None:
    barrier, jobs = threading.Barrier(4), []

    def run() -> None:
        barrier.wait()
        jobs.append(ask(database).job)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert len(jobs) == 4
    assert len(set(jobs)) == 1
    with database.reading() as session:
        assert session.scalar(select(func.count()).where(JobRow.model_version_id == asleep)) == 1


def test_what_cannot_be_asked_is_refused(database: Database, asleep: int) -> None:
    with pytest.raises(NotFound, match="There is no radiograph 9"):
        ask(database, radiograph=9)
    with pytest.raises(NotFound, match="There is no model 'nobody'; known: asleep"):
        ask(database, "nobody")
    with pytest.raises(NotFound):
        ask(database, "asleep/9")
    with database.transaction() as session:
        session.execute(update(ModelVersionRow).where(ModelVersionRow.id == asleep).values(installed=False))
    with pytest.raises(ModelNotInstalled, match="is not installed here"):
        ask(database)
    assert not ask(database, "test-model").new  # answered long ago, installed or not


def test_lists_go_on_showing_the_active_models_answer(database: Database, asleep: int) -> None:
    ask(database)
    answer(database, asleep, "oblique")
    with database.reading() as session:
        assert get_result(session, 1).label == "spiral"
        assert get_result(session, 1, model="asleep").label == "oblique"
        assert [result.label for result in list_results(session, Filters(), limit=9)] == ["spiral"]
        assert list_results(session, Filters(label="oblique"), limit=9) == []
