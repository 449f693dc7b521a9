import hashlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from sqlalchemy import select

from core.database import Database
from core.errors import ConfigurationError, ModelMismatch
from core.ingest import Incoming, Ingest
from core.records.claims import Outcome, give_back
from core.records.controls import WORKERS, pause, resume
from core.records.intake import Submission
from core.records.models import register_bundles, set_active
from core.records.workers import Identity
from core.settings import Settings
from core.storage import FolderStore
from core.tables import JobStatus, PredictionRow, Source
from tests.conftest import copy_tables, draw_radiograph
from tests.fakes import FakeClassifier, claimed, die, event_kinds, jobs_of, make_card, saved, write_bundle
from worker.batching import process_claim, work_off
from worker.context import WorkerContext
from worker.main import register_installed
from worker.pulse import Pulse

Trouble = Callable[[NDArray[np.uint8]], NDArray[np.float32] | None]


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """SQLite alone: claims are tested on both in `test_claims`."""
    return copy_tables(tmp_path / "test.db")


class Bench:
    """One worker process's parts, with a network that does as the test says."""

    def __init__(self, settings: Settings, database: Database) -> None:
        assert settings.store_path is not None
        self.database = database
        self.store = FolderStore(settings.store_path)
        write_bundle(settings.models)
        self.model_id = register_installed_models(settings, database)
        self.context = WorkerContext(settings, database, self.store, Identity("worker", "test", 1))
        self.pulse = Pulse(self.context)
        self.use(FakeClassifier())
        self.ingest = Ingest(settings, database, self.store, lambda _: None)

    def use(self, classifier: FakeClassifier) -> FakeClassifier:
        self.context._classifiers[self.model_id] = classifier
        return classifier

    def take_in(self, *contents: bytes) -> list[int]:
        """Take in one after another, so that identifiers follow the order; return the radiographs' ids."""
        found: list[int] = []
        for data in contents:
            file = Incoming(name="scan.png", data=data, size=len(data))
            found += self.ingest.take(Submission(source=Source.INBOX), [file]).arrivals[0].radiograph_ids
        return found

    def statuses(self) -> list[str]:
        return [job.error_code or job.status.value for job in jobs_of(self.database)]

    def process(self, limit: int = 8) -> dict[int, Outcome]:
        self.context.installed()
        taken = claimed(self.database, self.model_id, limit=limit)
        outcomes = {outcome.job.radiograph_id: outcome for outcome in process_claim(self.context, taken)}
        with self.database.transaction() as session:
            give_back(session, taken.token)
        return outcomes


def register_installed_models(settings: Settings, database: Database) -> int:
    register_installed(settings, database, "test")
    with database.transaction() as session:
        return register_bundles(session, [], "test")[0].id


@pytest.fixture
def bench(settings: Settings, database: Database, tmp_path: Path) -> Iterator[Bench]:
    yield Bench(settings.with_changes(models=tmp_path / "models", batch_size=8), database)


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def bright(image: NDArray[np.uint8]) -> bool:
    return bool(image.mean() > 250)


def white() -> bytes:
    return saved(Image.new("L", (20, 20), 255), "PNG")


# Batches


def test_a_paused_worker_takes_nothing_until_it_is_resumed(bench: Bench) -> None:
    bench.take_in(draw_radiograph(1), draw_radiograph(2))
    with bench.database.transaction() as session:
        pause(session, WORKERS, actor="test", host="test")
    assert work_off(bench.context, bench.pulse).jobs == 0
    assert bench.statuses() == ["waiting", "waiting"]
    with bench.database.transaction() as session:
        resume(session, WORKERS, actor="test")
    assert work_off(bench.context, bench.pulse).jobs == 2


def test_a_pause_lets_the_batch_in_hand_be_finished(bench: Bench) -> None:
    def pause_all(_batch: NDArray[np.uint8]) -> None:
        with bench.database.transaction() as session:
            pause(session, WORKERS, actor="test")

    bench.use(FakeClassifier(trouble=pause_all))
    bench.take_in(*(draw_radiograph(seed) for seed in range(9)))
    assert work_off(bench.context, bench.pulse).jobs == 8
    assert bench.statuses() == [*["done"] * 8, "waiting"]


def test_all_that_waits_is_worked_off_in_batches(bench: Bench) -> None:
    network = bench.use(FakeClassifier())
    bench.take_in(*(draw_radiograph(seed) for seed in range(19)))
    worked = work_off(bench.context, bench.pulse)
    assert (worked.jobs, worked.emptied) == (19, True)
    assert network.batches == [8, 8, 3]
    assert set(bench.statuses()) == {"done"}
    with bench.database.reading() as session:
        rows = list(session.scalars(select(PredictionRow)))
        assert {row.engine for row in rows} == {"fake 1"}
        assert all(row.decode_ms > 0 and row.infer_ms > 0 and row.waited_ms >= 0 for row in rows)


def test_an_image_that_cannot_be_decoded_leaves_its_batch_alone(bench: Bench) -> None:
    good, damaged = draw_radiograph(1), cut(draw_radiograph(2))
    bench.take_in(good, damaged, draw_radiograph(3))
    worked = work_off(bench.context, bench.pulse)
    assert worked.jobs == 3
    assert bench.statuses() == ["done", "unreadable", "done"]
    assert "damaged or cut off" in (jobs_of(bench.database)[1].error_words or "")


def test_an_original_that_is_away_is_a_passing_cause_for_its_own_job(bench: Bench) -> None:
    bench.take_in(draw_radiograph(1), draw_radiograph(2))
    digest = hashlib.sha256(draw_radiograph(1)).hexdigest()
    original = bench.store.path(f"{digest[:2]}/{digest}")
    original.rename(original.with_name("away"))
    work_off(bench.context, bench.pulse)
    first, second = jobs_of(bench.database)
    assert (first.status, first.error_code) == (JobStatus.WAITING, "store-unavailable")
    assert second.status == JobStatus.DONE
    assert "postponed" in event_kinds(bench.database)


def raises(batch: NDArray[np.uint8]) -> None:
    if any(bright(image) for image in batch):
        raise RuntimeError("a kernel gave up")


def gives_nan(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
    rows = np.array(FakeClassifier().run(batch).probabilities)
    rows[[bright(image) for image in batch]] = np.nan
    return rows


def drops_a_row(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
    return FakeClassifier().run(batch[[not bright(image) for image in batch]]).probabilities


def has_a_column_too_many(batch: NDArray[np.uint8]) -> NDArray[np.float32] | None:
    return np.zeros((len(batch), 4), dtype=np.float32) if any(bright(image) for image in batch) else None


@pytest.mark.parametrize("trouble", [raises, gives_nan, drops_a_row, has_a_column_too_many])
def test_the_image_that_a_network_fails_on_is_found_and_its_mates_are_answered(trouble: Trouble, bench: Bench) -> None:
    bench.use(FakeClassifier(trouble=trouble))
    bench.take_in(*(draw_radiograph(seed) for seed in range(3)), white(), *(draw_radiograph(seed) for seed in (4, 5)))
    assert work_off(bench.context, bench.pulse).jobs == 6
    assert bench.statuses() == ["done"] * 3 + ["model-error"] + ["done"] * 2
    assert (jobs_of(bench.database)[3].error_words or "").endswith(".")


def test_a_network_that_always_fails_fails_every_job_and_hangs_nothing(bench: Bench) -> None:
    bench.use(FakeClassifier(trouble=lambda batch: np.full((len(batch), 3), np.nan, dtype=np.float32)))
    bench.take_in(*(draw_radiograph(seed) for seed in range(3)))
    assert work_off(bench.context, bench.pulse).emptied
    assert bench.statuses() == ["model-error"] * 3


@pytest.mark.parametrize("size", [1, 3, 8])
def test_the_size_of_a_batch_changes_no_answer(size: int, bench: Bench) -> None:
    shapes = [(40, 90), (90, 40), (128, 96), (33, 33), (300, 20), (64, 64), (10, 10), (128, 128)]
    numbers = bench.take_in(
        *(draw_radiograph(seed, width=width, height=height) for seed, (width, height) in enumerate(shapes))
    )
    whole = bench.process(limit=8)
    assert sorted(whole) == numbers
    picked = bench.process(limit=size)
    assert len(picked) == size
    for number, outcome in picked.items():
        expected = whole[number].answer
        assert outcome.answer is not None
        assert expected is not None
        assert outcome.answer.scores == pytest.approx(expected.scores, abs=1e-6)


def test_the_network_sees_what_the_card_asks_for(bench: Bench) -> None:
    seen: list[tuple[tuple[int, ...], Any]] = []
    card = make_card(input={"side": 48, "channels": 3, "geometry": "letterbox-1"})
    bench.use(FakeClassifier(card, trouble=lambda batch: seen.append((batch.shape, batch.dtype))))
    bench.take_in(draw_radiograph(1), draw_radiograph(2))
    bench.process()
    assert seen == [((2, 48, 48, 3), np.uint8)]


def test_every_page_of_a_file_gets_its_own_answer(bench: Bench) -> None:
    pages = [Image.new("L", (20, 20), level) for level in (0, 255)]
    dark, light = bench.take_in(saved(pages[0], "TIFF", save_all=True, append_images=pages[1:]))
    outcomes = bench.process()
    spiral = {number: outcome.answer.scores["spiral"] for number, outcome in outcomes.items() if outcome.answer}
    assert spiral[dark] < spiral[light]


# Stops and failures of the worker itself


def test_a_polite_stop_takes_no_further_batch(bench: Bench) -> None:
    def stop(_batch: NDArray[np.uint8]) -> None:
        bench.context.stopping = True

    bench.use(FakeClassifier(trouble=stop))
    bench.take_in(*(draw_radiograph(seed) for seed in range(10)))
    worked = work_off(bench.context, bench.pulse)
    assert (worked.jobs, worked.emptied) == (8, False)
    assert bench.statuses().count("waiting") == 2


def test_a_task_ends_when_its_time_is_up_though_work_is_left(bench: Bench) -> None:
    bench.context.settings = bench.context.settings.with_changes(drain_seconds=0.01, batch_size=1)
    bench.use(FakeClassifier(trouble=lambda _: wait_a_moment()))
    bench.take_in(draw_radiograph(1), draw_radiograph(2))
    worked = work_off(bench.context, bench.pulse)
    assert (worked.jobs, worked.emptied) == (1, False)


def wait_a_moment() -> None:
    threading.Event().wait(0.02)


@pytest.mark.parametrize("error", [ModelMismatch("The files differ."), ConfigurationError("No such engine here.")])
def test_a_model_that_cannot_be_used_gives_its_jobs_back_and_is_not_asked_for_again(
    error: Exception, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    bench.context._classifiers.clear()
    monkeypatch.setattr("worker.context.load_classifier", fail)
    bench.take_in(draw_radiograph(1), draw_radiograph(2))
    with pytest.raises(type(error)):
        work_off(bench.context, bench.pulse)
    for job in jobs_of(bench.database):
        assert (job.status, job.attempts, job.deaths) == (JobStatus.WAITING, 0, 0)
    assert bench.context.installed() == []
    assert work_off(bench.context, bench.pulse).emptied


def test_a_worker_whose_lease_ran_out_meanwhile_drops_its_answers(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    def lose_the_lease(_batch: NDArray[np.uint8]) -> None:
        die(bench.database)

    bench.use(FakeClassifier(trouble=lose_the_lease))
    bench.take_in(draw_radiograph(1))
    bench.context.settings = bench.context.settings.with_changes(drain_seconds=0.01)
    worked = work_off(bench.context, bench.pulse)
    assert worked.jobs == 0
    assert "The lease of 1 jobs had run out; their answers were dropped." in caplog.text
    with bench.database.reading() as session:
        assert session.scalars(select(PredictionRow)).all() == []


def test_a_model_that_is_published_later_is_found_without_a_restart(
    bench: Bench, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert bench.context.installed() == [bench.model_id]
    write_bundle(tmp_path / "models", name="binary", task="fracture")
    register_installed(bench.context.settings, bench.database, "test")
    assert bench.context.installed() == [bench.model_id]
    bench.context._looked_at = float("-inf")
    assert len(bench.context.installed()) == 2


def test_each_answer_names_the_model_that_gave_it_though_another_is_active_since(bench: Bench, tmp_path: Path) -> None:
    bench.take_in(draw_radiograph(1))
    assert work_off(bench.context, bench.pulse).jobs == 1
    # when: the next version is published and takes over while the process runs
    write_bundle(tmp_path / "models", version="2.0.0")
    register_installed(bench.context.settings, bench.database, "test")
    with bench.database.transaction() as session:
        newer = set_active(session, "fracture-types/2.0.0", active=True, actor="test").id
    bench.context._classifiers[newer] = FakeClassifier()
    bench.context._looked_at = float("-inf")
    second = bench.take_in(draw_radiograph(2))
    assert work_off(bench.context, bench.pulse).jobs == 1
    # then
    with bench.database.reading() as session:
        query = select(PredictionRow.radiograph_id, PredictionRow.model_version_id).order_by(PredictionRow.id)
        assert session.execute(query).all() == [(1, bench.model_id), (second[0], newer)]


def test_a_damaged_bundle_is_refused_before_its_network_is_loaded(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "models" / "fracture-types" / "1.0.0" / "model.tflite").write_bytes(b"another")
    bench.context._classifiers.clear()
    bench.take_in(draw_radiograph(1))
    with pytest.raises(ModelMismatch, match="differs from its card"):
        work_off(bench.context, bench.pulse)
    assert [job.attempts for job in jobs_of(bench.database)] == [0]
