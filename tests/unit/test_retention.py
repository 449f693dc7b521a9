"""Old originals are deleted, everything else stays, and what comes in again is back."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from sqlalchemy import select, update

from cli.commands.retention import retention
from core.database import Database
from core.errors import OriginalDeleted
from core.records.details import facts_with_original
from core.records.jobs import retry_jobs
from core.retention import count_expired, delete_expired
from core.settings import Settings
from core.storage import FolderStore
from core.tables import EventRow, JobRow, JobStatus, PredictionRow, RadiographRow
from tests.conftest import draw_radiograph
from tests.fakes import FakeClassifier, claim, claimed, event_kinds, let_days_pass
from tests.unit.desk import Clock, Desk
from tests.unit.web_fixtures import Site, left_to_the_collector
from worker.batching import process_claim
from worker.context import WorkerContext
from worker.doctor.ailments import Premises
from worker.doctor.store_checks import STORE_CHECKS


@pytest.fixture
def desk(settings: Settings, database: Database, model_id: int, monkeypatch: pytest.MonkeyPatch) -> Desk:
    clock = Clock()
    clock.stand_in(monkeypatch)
    return Desk(settings, database, clock)


def store_of(settings: Settings) -> FolderStore:
    return FolderStore.at(settings.store_url)


def come_in(desk: Desk, *seeds: int) -> None:
    for seed in seeds:
        desk.drop(f"{seed}.png", draw_radiograph(seed))
    desk.take()


def delete(desk: Desk, days: int = 90) -> int:
    return sum(each.files for each in delete_expired(desk.database, store_of(desk.settings), days, "test"))


def kept(desk: Desk) -> int:
    return len(list(store_of(desk.settings).kept()))


def ailments(desk: Desk) -> list[str]:
    premises = Premises(desk.settings, desk.database, store_of(desk.settings), "doctor:test", deep=True)
    return [check.name for check in STORE_CHECKS if check.examine(premises)]


def test_old_originals_go_and_rows_answers_and_files_in_done_stay(desk: Desk) -> None:
    come_in(desk, 1, 2)
    desk.classify()
    desk.inbox.settle()
    let_days_pass(desk.settings, desk.database, 100)
    come_in(desk, 3)
    desk.classify()
    # when
    with desk.database.reading() as session:
        assert count_expired(session, 90).files == 2
        assert count_expired(session, 101).files == 0
    assert delete(desk) == 2
    # then
    assert kept(desk) == 1
    with desk.database.reading() as session:
        deleted = session.scalars(select(RadiographRow.original_deleted_at).order_by(RadiographRow.id)).all()
        assert [each is not None for each in deleted] == [True, True, False]
        assert len(session.scalars(select(PredictionRow)).all()) == 3
        trail = session.scalars(select(EventRow).where(EventRow.kind == "original-deleted")).all()
    assert [(each.radiograph_id, each.actor, each.detail) for each in trail] == [
        (number, "test", {"older_than_days": 90}) for number in (1, 2)
    ]
    assert desk.below(desk.settings.done) == ["1.png", "2.png"]
    # and the doctor misses nothing, and nothing is left to do
    assert ailments(desk) == []
    assert delete(desk) == 0


def test_unfinished_work_keeps_its_original(desk: Desk) -> None:
    come_in(desk, 1)
    let_days_pass(desk.settings, desk.database, 100)
    assert delete(desk) == 0
    desk.classify()
    assert delete(desk) == 1


def test_what_came_in_again_lately_is_kept(desk: Desk) -> None:
    come_in(desk, 1)
    desk.classify()
    let_days_pass(desk.settings, desk.database, 100)
    come_in(desk, 1)
    assert delete(desk) == 0
    assert kept(desk) == 1


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_file_that_somebody_stores_at_this_moment_is_kept(desk: Desk) -> None:
    come_in(desk, 1)
    desk.classify()
    let_days_pass(desk.settings, desk.database, 100)
    data = draw_radiograph(1)
    store = store_of(desk.settings)
    store.put(data, next(store.kept()))  # its rows will follow
    assert delete(desk) == 0
    assert kept(desk) == 1


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_many_are_deleted_page_by_page(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.retention._AT_ONCE", 2)
    come_in(desk, *range(5))
    desk.classify()
    let_days_pass(desk.settings, desk.database, 100)
    pages = [each.files for each in delete_expired(desk.database, store_of(desk.settings), 90, "test")]
    assert pages == [2, 2, 1]
    assert kept(desk) == 0


def test_the_same_bytes_again_bring_the_original_back(desk: Desk) -> None:
    come_in(desk, 1)
    desk.classify()
    let_days_pass(desk.settings, desk.database, 100)
    delete(desk)
    come_in(desk, 1)
    with desk.database.reading() as session:
        facts = facts_with_original(session, 1)
    assert store_of(desk.settings).get(facts.storage_key) == draw_radiograph(1)
    assert event_kinds(desk.database, 1)[-2:] == ["original-back", "received"]
    assert ailments(desk) == []
    assert delete(desk) == 0


def test_what_has_no_original_is_not_tried_again(desk: Desk) -> None:
    come_in(desk, 1, 2)
    desk.classify(failure=("unreadable", "Cut off."))
    let_days_pass(desk.settings, desk.database, 100)
    delete(desk)
    with desk.database.transaction() as session:
        assert retry_jobs(session, actor="test") == []
    refused = pytest.raises(OriginalDeleted, match=r"The original of radiograph 2 was deleted on 20\d\d-\d\d-\d\d; ")
    with refused, desk.database.transaction() as session:
        retry_jobs(session, actor="test", radiograph_ids=[2])


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_job_that_comes_too_late_fails_with_a_sentence(
    desk: Desk, model_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    come_in(desk, 1)
    desk.classify()
    let_days_pass(desk.settings, desk.database, 100)
    delete(desk)
    with desk.database.transaction() as session:  # as another model would ask, or a retry at the same moment
        session.execute(update(JobRow).values(status=JobStatus.WAITING))
    context = WorkerContext.of(desk.settings.with_changes(memory_limit_mib=0))
    monkeypatch.setattr(context, "classifier", lambda _model: FakeClassifier())
    (outcome,) = process_claim(context, claimed(desk.database, model_id))
    assert outcome.failure is not None
    assert outcome.failure[0] == "original-deleted"
    assert "Sent in again, it is back." in outcome.failure[1]
    assert claim(desk.database, model_id) is None


def test_the_page_and_the_picture_say_that_it_was_deleted(settings: Settings) -> None:
    site = Site(settings)
    (number,) = site.take_in(1)
    site.fail()
    let_days_pass(settings, site.database, 100)
    assert [each.files for each in delete_expired(site.database, store_of(settings), 90, "test")] == [1]
    page = site.client.get(f"/radiographs/{number}").text
    assert "Its original was deleted on 20" in page
    assert "<figure" not in page
    assert "Try again" not in page
    assert "<img" not in site.client.get("/results").text
    assert "Its original was deleted" in site.client.get("/results").text
    for name in ("image.png", "image.png?size=64"):
        answer = site.client.get(f"/api/v1/radiographs/{number}/{name}")
        assert (answer.status_code, answer.json["code"]) == (410, "original-deleted")
    again = site.client.post(f"/api/v1/radiographs/{number}/retry")
    assert again.status_code == 410
    assert site.client.get(f"/api/v1/radiographs/{number}").json["original_deleted_at"].startswith("20")
    # and when it comes in again
    assert site.take_in(1) == [number]
    with left_to_the_collector():
        assert site.client.get(f"/api/v1/radiographs/{number}/image.png").status_code == 200
    assert "Try again" in site.client.get(f"/radiographs/{number}").text


def test_the_command_tells_first_and_deletes_only_when_told(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(settings)
    site.take_in(1)
    site.classify()
    let_days_pass(settings, site.database, 100)
    monkeypatch.setenv("FRACTURE_HOME", str(settings.home))
    for flags in ([], ["--dry-run"]):
        told = CliRunner().invoke(retention, ["--older-than", "90", *flags])
        assert told.output.startswith("1 original (0.0 MiB) older than 90 days would be deleted")
    assert len(list(store_of(settings).kept())) == 1
    done = CliRunner().invoke(retention, ["--older-than", "90", "--yes"])
    assert done.output == "1 original (0.0 MiB) older than 90 days deleted.\n"
    assert list(store_of(settings).kept()) == []
    assert CliRunner().invoke(retention, ["--older-than", "0"]).exit_code == 2
