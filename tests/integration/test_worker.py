"""A real worker with the shipped model: what it answers, and how it stops."""

import csv
import signal
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from core.records.asking import ask_model
from core.records.details import answers_of
from core.records.filters import Filters
from core.records.models import active_models
from core.records.results import list_results
from core.settings import MODELS_FOLDER
from core.tables import JobRow, JobStatus, PredictionRow, Source
from tests.conftest import draw_radiograph, wait_until
from tests.fakes import black_png
from tests.integration.parts import PATIENCE, Installation, RedisServer, is_alive


@pytest.fixture
def real_radiographs(data_folder: Path) -> list[bytes]:
    with (data_folder / "bone-break" / "MANIFEST.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["split"] == "test"]
    return [(data_folder / "bone-break" / row["path"]).read_bytes() for row in rows[::15]]


def test_real_radiographs_are_classified(installation: Installation, real_radiographs: list[bytes]) -> None:
    count = len({*real_radiographs})
    assert count >= 8
    installation.start_worker()
    installation.take_in(*real_radiographs)
    installation.wait_for(done=count)
    with installation.database.reading() as session:
        results = list_results(session, Filters(), limit=100)
    assert len(results) == count
    for result in results:
        assert len(result.scores) == 10
        assert sum(result.scores.values()) == pytest.approx(1, abs=1e-4)
        assert result.confidence == max(result.scores.values()) == result.scores[result.label or ""]
        assert result.label in result.prediction_set
        assert (result.model or "").startswith("fracture-types/")
    assert len({result.label for result in results}) > 1
    with installation.database.reading() as session:
        assert all(engine.startswith("litert ") for engine in session.scalars(select(PredictionRow.engine)))


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_bad_images_fail_alone_and_the_worker_lives_on(installation: Installation) -> None:
    good = [draw_radiograph(seed) for seed in range(6)]
    worker = installation.start_worker()
    whole = draw_radiograph(99)
    installation.take_in(*good[:3], whole[: len(whole) * 2 // 3], *good[3:])
    wait_until(
        lambda: installation.count(JobStatus.DONE) == 6 and installation.count(JobStatus.FAILED) == 1,
        within_seconds=PATIENCE,
        what="six are done and one has failed",
    )
    with installation.database.reading() as session:
        (bad,) = session.scalars(select(JobRow).where(JobRow.status == JobStatus.FAILED)).all()
        assert (bad.error_code, bad.deaths) == ("unreadable", 0)
    assert worker.poll() is None


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_polite_stop_finishes_the_batch_in_hand_and_leaves_the_rest_waiting(installation: Installation) -> None:
    # given: work for many seconds, in pictures that take their time
    pictures = [black_png(4000 + number, 4000) for number in range(60)]
    worker = installation.start_worker()
    processes = [int(name.rpartition(":")[2]) for name in installation.workers()]
    installation.take_in(*pictures)
    installation.holder()
    # when
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=PATIENCE) == 0
    # then: nothing is torn, lost or counted as a death, and nobody is left
    assert not any(is_alive(pid) for pid in processes)
    assert installation.workers() == []
    assert installation.count(JobStatus.RUNNING) == 0
    waiting, done = installation.count(JobStatus.WAITING), installation.count(JobStatus.DONE)
    assert waiting + done == 60
    assert waiting > 0
    with installation.database.reading() as session:
        assert session.scalar(select(func.count()).select_from(PredictionRow)) == done
        assert session.scalar(select(func.max(JobRow.deaths))) == 0
        left = session.scalars(select(JobRow.attempts).where(JobRow.status == JobStatus.WAITING)).all()
    assert set(left) == {0}
    # and the next worker goes on without being told
    with installation.database.transaction() as session:
        spare = list(session.scalars(select(JobRow.id).where(JobRow.status == JobStatus.WAITING)))[3:]
        session.execute(update(JobRow).where(JobRow.id.in_(spare)).values(status=JobStatus.CANCELLED))
    installation.start("beat")
    installation.start_worker()
    wait_until(
        lambda: installation.count(JobStatus.WAITING, JobStatus.RUNNING) == 0,
        within_seconds=PATIENCE,
        what="the rest is done",
    )
    assert installation.count(JobStatus.DONE) == done + 3


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_stop_that_takes_too_long_and_ends_in_a_kill_tears_nothing(installation: Installation) -> None:
    worker = installation.start_worker()
    installation.take_in(*(black_png(4000 + number, 4000) for number in range(24)))
    installation.holder()
    # when: as a container's end, whose time is over before the batch
    worker.send_signal(signal.SIGTERM)
    worker.kill()
    worker.wait(timeout=PATIENCE)
    # then: each job is done with its answer, or not done and without one
    with installation.database.reading() as session:
        answered = set(session.scalars(select(PredictionRow.radiograph_id)))
        assert answered == set(session.scalars(select(JobRow.radiograph_id).where(JobRow.status == JobStatus.DONE)))
    # and the next worker does the rest, once
    installation.start("beat")
    installation.start_worker()
    installation.wait_for(done=24)
    assert installation.events("quarantined") == 0


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_an_upload_overtakes_a_bulk_drop(installation: Installation) -> None:
    installation.take_in(*(black_png(3000 + number, 3000) for number in range(30)), source=Source.INBOX)
    (mine,) = installation.take_in(draw_radiograph(1), source=Source.WEB).arrivals
    installation.start_worker()
    installation.wait_for(done=31)
    with installation.database.reading() as session:
        order = list(session.scalars(select(JobRow.radiograph_id).order_by(JobRow.started_at, JobRow.id)))
    assert order[0] == mine.radiograph_ids[0]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_an_installed_model_that_is_not_active_answers_when_it_is_asked(
    tmp_path: Path, database_url: str, redis: RedisServer
) -> None:
    # given: everything that ships, of which the large model is not active
    installation = Installation(tmp_path / "home", database_url, redis, MODELS_FOLDER, FRACTURE_WORKER_PROCESSES="1")
    try:
        [arrival] = installation.take_in(draw_radiograph(1), source=Source.WEB).arrivals
        [number] = arrival.radiograph_ids
        with installation.database.transaction() as session:
            asked = ask_model(session, number, "fracture-types-large", actor="page")
            active = {version.full_name for version in active_models(session)}
        assert asked.model not in active
        # when
        installation.start_worker()
        wait_until(
            lambda: installation.count(JobStatus.DONE) == 1 + len(active),
            within_seconds=PATIENCE,
            what="the active models and the one that was asked have answered",
        )
        # then: it answers, and lists go on showing the active one
        with installation.database.reading() as session:
            answers = {answer.model: answer.prediction for answer in answers_of(session, number)}
            listed = list_results(session, Filters(), limit=9)
        assert set(answers) == {*active, asked.model}
        assert all(prediction is not None and prediction.scores for prediction in answers.values())
        assert [result.model for result in listed] == [name for name in active if name.startswith("fracture-types/")]
    finally:
        installation.close()
