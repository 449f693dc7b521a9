"""Files from the inbox through processing to done or failed, and what a crash at each step leaves."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import update

from core.database import Database
from core.errors import DatabaseUnavailable
from core.records.claims import Outcome, store_outcomes
from core.settings import Settings
from core.tables import JobRow, JobStatus
from tests.conftest import add_model, copy_tables, draw_radiograph
from tests.fakes import claim, jobs_of, raising, saved
from tests.unit.desk import SETTLE, Clock, Desk
from worker.settling import UNFINISHED_PATIENCE


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """SQLite alone: the SQL behind the inbox is tested on both in other files."""
    return copy_tables(tmp_path / "test.db")


@pytest.fixture
def desk(settings: Settings, database: Database, model_id: int, clock: Clock) -> Desk:
    return Desk(settings.with_changes(settle_seconds=SETTLE), database, clock)


def test_a_file_goes_from_the_inbox_through_processing_to_done(desk: Desk) -> None:
    desk.drop("scan.png", draw_radiograph(1))
    assert desk.take() == 1
    assert desk.below(desk.settings.inbox) == []
    assert [path.name for path in desk.in_processing() if path.is_file()] == ["scan.png"]
    assert desk.inbox.settle() == 0  # its job has not ended
    desk.classify()
    assert desk.inbox.settle() == 1
    assert desk.below(desk.settings.done) == ["scan.png"]
    assert desk.in_processing() == []
    assert desk.inbox.settle() == 0
    assert desk.arrivals()[0].settled_at is not None
    assert desk.rung == [1]


def test_a_file_that_grows_in_steps_is_taken_once_and_whole(desk: Desk) -> None:
    data = draw_radiograph(1)
    path = desk.drop("scan.png", b"")
    for end in range(0, len(data), len(data) // 5):
        path.write_bytes(data[:end])
        for _ in range(3):  # a pause is longer than from one look to the next
            assert desk.look(0.3 * SETTLE) == 0
    path.write_bytes(data)
    assert desk.take() == 1
    assert [job.status for job in jobs_of(desk.database)] == [JobStatus.WAITING]
    assert [row.sha256 for row in desk.arrivals()] == [hashlib.sha256(data).hexdigest()]


def test_a_file_that_is_there_at_the_start_waits_too(desk: Desk) -> None:
    data = draw_radiograph(1)
    path = desk.drop("scan.png", data[:50])
    os.utime(path, (0, 0))
    desk.restart()
    assert desk.look() == 0
    path.write_bytes(data)
    assert desk.look(SETTLE) == 0
    assert desk.look(SETTLE) == 1
    assert desk.inbox.record() == 1
    assert desk.arrivals()[0].sha256 == hashlib.sha256(data).hexdigest()


def test_a_writer_that_goes_on_after_a_long_pause_is_waited_for_in_processing(desk: Desk) -> None:
    data = draw_radiograph(1)
    with (desk.settings.inbox / "scan.png").open("wb") as stream:
        stream.write(data[:100])
        stream.flush()
        desk.look()
        assert desk.look(UNFINISHED_PATIENCE * SETTLE) == 1
        stream.write(data[100:])  # a rename does not stop a writer
    assert desk.inbox.record() == 0
    desk.clock.now += SETTLE
    assert desk.inbox.record() == 1
    assert desk.arrivals()[0].sha256 == hashlib.sha256(data).hexdigest()


def test_unfinished_names_wait_for_their_real_name_and_junk_stays(desk: Desk) -> None:
    for name in ("Thumbs.db", "._scan.png", ".hidden/scan.png"):
        desk.drop(name, b"junk")
    part = desk.drop("scan.png.part", draw_radiograph(1))
    assert desk.take() == 0
    part.rename(part.with_name("scan.png"))
    assert desk.take() == 1
    assert desk.below(desk.settings.inbox) == ["._scan.png", ".hidden/scan.png", "Thumbs.db"]


def test_files_in_folders_keep_their_place(desk: Desk) -> None:
    for number, name in enumerate(("study/left.png", "study/deep/right.png", "SCAN.PNG", "-rf.png")):
        desk.drop(name, draw_radiograph(number))
    assert desk.take() == 4
    desk.classify()
    desk.inbox.settle()
    assert desk.below(desk.settings.done) == [
        *("-rf.png", "SCAN.PNG", "study.SUMMARY.csv", "study/deep/right.png", "study/left.png"),
    ]
    assert {row.name for row in desk.arrivals()} | {"study.SUMMARY.csv"} == set(desk.below(desk.settings.done))


def test_a_folder_that_is_moved_in_whole_needs_one_look(desk: Desk, tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / "study").mkdir(exist_ok=True)
        (tmp_path / "study" / f"{number}.png").write_bytes(draw_radiograph(number))
    (tmp_path / "study").rename(desk.settings.inbox / "study")
    desk.inbox.look_at(desk.settings.inbox / "study", desk.clock.now)  # the one event there is
    desk.clock.now += SETTLE
    assert desk.inbox.claim_ready() == 3


def test_an_event_for_a_file_that_was_taken_changes_nothing(desk: Desk) -> None:
    path = desk.drop("scan.png", draw_radiograph(1))
    desk.take()
    desk.inbox.look_at(path, desk.clock.now)
    desk.inbox.look_at(Path("/elsewhere/scan.png"), desk.clock.now)
    assert (len(desk.inbox.waiting.tracker), desk.take(), len(desk.arrivals())) == (0, 0, 1)


def test_a_file_that_is_deleted_before_it_settles_is_forgotten(desk: Desk) -> None:
    path = desk.drop("scan.png", draw_radiograph(1))
    desk.look()
    path.unlink()
    assert desk.look(SETTLE) == 0
    assert len(desk.inbox.waiting.tracker) == 0
    assert desk.in_processing() == []


def test_a_file_that_is_deleted_between_the_last_look_and_the_rename_is_forgotten(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.drop("scan.png", draw_radiograph(1))
    desk.look()
    monkeypatch.setattr("worker.custody.move", raising(errno.ENOENT))
    assert desk.look(SETTLE) == 0
    assert desk.in_processing() == []


def test_a_crash_after_the_rename_loses_nothing(desk: Desk) -> None:
    desk.drop("study/scan.png", draw_radiograph(1))
    desk.look()
    assert desk.look(SETTLE) == 1
    assert desk.restart() == 1
    assert desk.inbox.record() == 1
    assert [row.name for row in desk.arrivals()] == ["study/scan.png"]


def test_a_crash_before_the_rename_leaves_only_an_empty_folder_which_goes(desk: Desk) -> None:
    (desk.settings.processing / "0123456789abcdef" / "study").mkdir(parents=True)
    desk.drop("scan.png", draw_radiograph(1))
    assert desk.restart() == 1
    assert desk.take() == 1
    assert not (desk.settings.processing / "0123456789abcdef").exists()


def test_a_crash_while_copying_from_another_file_system_leaves_no_half_radiograph(desk: Desk) -> None:
    data = draw_radiograph(1)
    desk.drop("scan.png", data)  # the source is removed last
    claimed = desk.settings.processing / "0123456789abcdef"
    claimed.mkdir()
    (claimed / ".0011223344556677.tmp").write_bytes(data[:100])
    desk.restart()
    assert desk.take() == 1
    assert [row.bytes for row in desk.arrivals()] == [len(data)]
    assert not claimed.exists()


def test_a_crash_after_recording_doubles_nothing(desk: Desk) -> None:
    desk.drop("scan.png", draw_radiograph(1))
    desk.take()
    assert desk.restart() == 0
    assert desk.take() == 0
    desk.classify()
    assert desk.restart() == 0
    assert desk.inbox.settle() == 1
    assert (len(desk.arrivals()), desk.below(desk.settings.done)) == (1, ["scan.png"])


def test_a_crash_after_the_file_was_moved_on_is_only_noted(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.drop("good.png", draw_radiograph(1))
    desk.drop("bad.png", b"only words")
    desk.take()
    desk.classify()

    def crash(*_: Any) -> None:
        raise DatabaseUnavailable

    with monkeypatch.context() as broken:
        broken.setattr("worker.inbox.mark_settled", crash)
        with pytest.raises(DatabaseUnavailable):
            desk.inbox.settle()
    assert desk.restart() == 0
    assert desk.inbox.settle() == 2
    assert desk.below(desk.settings.done) == ["good.png"]
    assert desk.below(desk.settings.failed) == ["bad.png", "bad.png.reason.txt"]


def test_a_crash_between_the_move_and_the_reason_still_gives_the_reason(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.drop("bad.png", b"only words")
    desk.take()
    with monkeypatch.context() as broken:
        broken.setattr("worker.inbox.write_reason", raising(errno.ENOSPC))
        assert desk.inbox.settle() == 0
    assert desk.inbox.settle() == 1
    assert desk.below(desk.settings.failed) == ["bad.png", "bad.png.reason.txt"]


def test_the_same_bytes_under_two_names_are_one_radiograph_and_both_files_settle(desk: Desk) -> None:
    data = draw_radiograph(1)
    desk.drop("a.png", data)
    desk.drop("b.png", data)
    assert desk.take() == 2
    assert len(jobs_of(desk.database)) == 1
    desk.classify()
    assert desk.inbox.settle() == 2
    assert desk.below(desk.settings.done) == ["a.png", "b.png"]
    # and again, when the answer is there already
    desk.drop("a.png", data)
    desk.take()
    assert desk.inbox.settle() == 1
    assert desk.below(desk.settings.done) == ["a (2).png", "a.png", "b.png"]
    assert len(jobs_of(desk.database)) == 1


def test_the_same_name_with_other_bytes_is_kept_beside_the_first(desk: Desk) -> None:
    for seed in (1, 2):
        desk.drop("scan.png", draw_radiograph(seed))
        desk.take()
    desk.classify()
    desk.inbox.settle()
    kept = [(desk.settings.done / name).read_bytes() for name in ("scan.png", "scan (2).png")]
    assert kept == [draw_radiograph(1), draw_radiograph(2)]


def test_files_of_one_name_that_end_together_leave_in_their_order_and_leave_no_folders(desk: Desk) -> None:
    for seed in range(6):
        desk.drop("study/scan.png", draw_radiograph(seed))
        desk.take()
    desk.classify()
    assert desk.inbox.settle() == 6
    names = ["scan.png", *(f"scan ({number}).png" for number in range(2, 7))]
    kept = [(desk.settings.done / "study" / name).read_bytes() for name in names]
    assert kept == [draw_radiograph(seed) for seed in range(6)]
    assert desk.in_processing() == []


def test_a_rejected_file_goes_to_failed_with_its_reason_and_is_not_tried_again(desk: Desk) -> None:
    desk.drop("notes.png", b"only words")
    desk.drop("none.png", b"")
    assert desk.take() == 2
    assert desk.inbox.settle() == 2
    assert desk.below(desk.settings.failed) == [
        "none.png",
        "none.png.reason.txt",
        "notes.png",
        "notes.png.reason.txt",
    ]
    reason = (desk.settings.failed / "notes.png.reason.txt").read_text()
    assert reason == "The file is not a JPEG, PNG, BMP, TIFF, WebP or DICOM image.\n"
    assert desk.restart() == 0
    assert desk.take() == 0


def test_a_file_whose_job_failed_goes_to_failed_with_the_jobs_words(desk: Desk) -> None:
    desk.drop("scan.png", draw_radiograph(1))
    desk.take()
    desk.classify(failure=("unreadable", "The picture data are cut off."))
    desk.inbox.settle()
    assert (desk.settings.failed / "scan.png.reason.txt").read_text() == "The picture data are cut off.\n"


def test_a_file_whose_job_was_cancelled_says_so(desk: Desk) -> None:
    desk.drop("scan.png", draw_radiograph(1))
    desk.take()
    with desk.database.transaction() as session:
        session.execute(update(JobRow).values(status=JobStatus.CANCELLED))
    desk.inbox.settle()
    assert (desk.settings.failed / "scan.png.reason.txt").read_text() == "It was cancelled.\n"


def test_a_file_stays_in_processing_until_every_model_and_every_page_has_answered(desk: Desk) -> None:
    second = add_model(desk.database, "binary", task="fracture")
    pages = [Image.new("L", (20, 20), 40 * number) for number in range(3)]
    desk.drop("study.tif", saved(pages[0], "TIFF", save_all=True, append_images=pages[1:]))
    desk.take()
    taken = claim(desk.database, second, limit=2)
    assert taken is not None
    with desk.database.transaction() as session:
        outcomes = [Outcome(job=job, failure=("unreadable", "A page is damaged.")) for job in taken.jobs]
        store_outcomes(session, taken, outcomes, "worker@test:1")
    assert desk.inbox.settle() == 0
    desk.classify()
    assert desk.inbox.settle() == 1
    assert (desk.settings.failed / "study.tif.reason.txt").read_text() == "A page is damaged.\n"


def test_finished_files_are_deleted_when_that_is_set_and_failed_ones_are_kept(desk: Desk) -> None:
    desk.settings = desk.settings.with_changes(inbox_done="delete")
    desk.restart()
    desk.drop("good.png", draw_radiograph(1))
    desk.drop("bad.png", b"only words")
    desk.take()
    desk.classify()
    assert desk.inbox.settle() == 2
    assert (desk.below(desk.settings.done), desk.in_processing()) == ([], [])
    assert "bad.png" in desk.below(desk.settings.failed)
