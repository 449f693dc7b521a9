"""The inbox when something is wrong: a database, disk or share that is away, files that cannot be read or moved."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from core.database import Database
from core.errors import DatabaseUnavailable
from core.ingest import Ingest
from core.settings import Settings
from core.tables import ArrivalRow, ModelVersionRow
from tests.conftest import copy_tables, draw_radiograph
from tests.fakes import raising
from tests.unit.desk import SETTLE, Clock, Desk
from worker.moving import move_aside


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """SQLite alone: the SQL behind the inbox is tested on both in other files."""
    return copy_tables(tmp_path / "test.db")


@pytest.fixture
def desk(settings: Settings, database: Database, model_id: int, clock: Clock) -> Desk:
    return Desk(settings.with_changes(settle_seconds=SETTLE), database, clock)


@pytest.mark.parametrize("cause", ["database", "store", "model"])
def test_a_passing_failure_is_tried_again_with_growing_pauses_and_loses_nothing(
    cause: str, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.drop("scan.png", draw_radiograph(1))
    with monkeypatch.context() as broken:
        if cause == "database":
            broken.setattr(Database, "transaction", raise_unavailable)
        elif cause == "store":
            broken.setattr("core.storage.os.fsync", raising(errno.ENOSPC))
        else:
            set_models_active(desk.database, False)
        assert desk.take() == 0
        pauses = []
        for _ in range(9):
            pause = desk.inbox.seconds_until_due()
            assert pause is not None
            pauses.append(round(pause, 3))
            assert desk.inbox.record() == 0  # too early: nothing is tried
            desk.clock.now += pause
            assert desk.inbox.record() == 0
        assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
        assert len([path for path in desk.in_processing() if path.is_file()]) == 1
    if cause == "model":
        set_models_active(desk.database, True)
    desk.clock.now += 30
    assert desk.inbox.record() == 1
    assert len(desk.arrivals()) == 1


def raise_unavailable(*_: Any) -> Any:
    raise DatabaseUnavailable


def set_models_active(database: Database, active: bool) -> None:
    with database.transaction() as session:
        session.execute(update(ModelVersionRow).values(active=active))


def test_a_commit_whose_answer_was_lost_is_found_out_and_not_repeated(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.drop("scan.png", draw_radiograph(1))
    took = Ingest.take

    def take_and_lose(*arguments: Any) -> Any:
        took(*arguments)
        raise DatabaseUnavailable("The database does not answer: connection lost.")

    with monkeypatch.context() as broken:
        broken.setattr(Ingest, "take", take_and_lose)
        assert desk.take() == 0
    desk.drop("other.png", draw_radiograph(2))
    desk.clock.now += 30
    desk.take()
    assert sorted(row.name for row in desk.arrivals()) == ["other.png", "scan.png"]


def test_a_file_above_the_limit_is_never_read_and_fails_with_its_size(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.settings = desk.settings.with_changes(max_file_bytes=2**20)
    desk.ingest = Ingest(desk.settings, desk.database, desk.ingest._store, desk.rung.append)
    desk.restart()
    with desk.drop("huge.png", b"").open("r+b") as stream:
        stream.truncate(5 * 2**20)
    monkeypatch.setattr(Path, "read_bytes", raising(errno.EIO))
    assert desk.take() == 1
    desk.inbox.settle()
    reason = (desk.settings.failed / "huge.png.reason.txt").read_text()
    assert reason == "The file has 5.0 MiB; at most 1 MiB are accepted.\n"
    assert desk.arrivals()[0].sha256 is None


def test_a_file_that_cannot_be_read_fails_and_the_others_go_on(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.drop("locked.png", draw_radiograph(1))
    desk.drop("scan.png", draw_radiograph(2))
    read = Path.read_bytes

    def refuse(path: Path) -> bytes:
        if path.name == "locked.png":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert desk.take() == 2
    desk.classify()
    desk.inbox.settle()
    assert desk.below(desk.settings.done) == ["scan.png"]
    assert "Permission denied" in (desk.settings.failed / "locked.png.reason.txt").read_text(encoding="utf-8")


def test_a_file_that_somebody_takes_out_of_processing_stops_nobody(desk: Desk) -> None:
    desk.drop("a.png", draw_radiograph(1))
    desk.drop("b.png", draw_radiograph(2))
    desk.look()
    assert desk.look(SETTLE) == 2
    next(path for path in desk.in_processing() if path.name == "a.png").unlink()
    assert desk.inbox.record() == 1
    assert desk.inbox.seconds_until_due() is None


@pytest.mark.parametrize("make", [Path.symlink_to, lambda path, _target: os.mkfifo(path)], ids=["link", "pipe"])
def test_what_is_no_regular_file_is_left_alone_and_told_once(
    make: Callable[[Path, Path], None], desk: Desk, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "outside.png").write_bytes(draw_radiograph(1))
    make(desk.settings.inbox / "odd.png", tmp_path / "outside.png")
    for _ in range(3):
        assert desk.take() == 0
    assert [record.getMessage() for record in caplog.records].count(
        "Something in the inbox is no regular file (a link or a device); it is left alone."
    ) == 1
    assert (desk.settings.inbox / "odd.png").is_symlink() or (desk.settings.inbox / "odd.png").is_fifo()


def test_a_linked_folder_is_not_walked(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "scan.png").write_bytes(draw_radiograph(1))
    (desk.settings.inbox / "study").symlink_to(tmp_path / "outside")
    assert desk.take() == 0
    assert (tmp_path / "outside" / "scan.png").exists()


def test_a_file_that_may_not_be_renamed_is_told_once_and_does_not_keep_the_process_busy(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    desk.drop("patient-name.png", draw_radiograph(1))
    with monkeypatch.context() as broken:
        broken.setattr("worker.custody.move", raising(errno.EACCES))
        for _ in range(4):
            desk.look()
            assert desk.look(SETTLE) == 0
            assert desk.inbox.claim_ready() == 0
    assert len(caplog.records) == 1
    assert "Permission denied; it is tried again" in caplog.text
    assert "patient-name" not in caplog.text
    assert desk.in_processing() == []
    assert desk.take() == 1


def test_a_finished_file_that_cannot_leave_is_told_once_and_tried_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    desk.drop("stuck.png", draw_radiograph(1))
    desk.drop("free.png", b"only words")
    desk.take()
    desk.classify()
    with monkeypatch.context() as broken:
        broken.setattr(
            "worker.custody.move_aside",
            lambda path, *rest, **more: raising(errno.EROFS)() if path.name == "stuck.png" else path.unlink(),
        )
        assert [desk.inbox.settle(), desk.inbox.settle()] == [1, 0]
    assert caplog.text.count("Read-only file system") == 1
    assert desk.inbox.settle() == 1
    assert desk.below(desk.settings.done) == ["stuck.png"]


def test_a_share_that_is_away_while_a_file_is_read_makes_it_wait_and_not_fail(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    desk.drop("scan.png", draw_radiograph(1))
    with monkeypatch.context() as away:
        away.setattr(Path, "read_bytes", raising(errno.ESTALE))
        assert desk.take() == 0
    assert "share does not answer" in caplog.text
    desk.clock.now += 30
    assert desk.inbox.record() == 1
    assert [row.error_code for row in desk.arrivals()] == [None]


def test_a_file_that_alone_cannot_be_stored_waits_behind_all_others(desk: Desk) -> None:
    pictures = {f"{seed}.png": draw_radiograph(seed) for seed in range(9)}
    for name, data in pictures.items():
        desk.drop(name, data)
    digest = hashlib.sha256(pictures["3.png"]).hexdigest()
    assert desk.settings.store_path is not None
    taken = desk.settings.store_path / digest[:2] / digest
    taken.mkdir(parents=True)  # no file can be written there
    desk.take()
    for _ in range(8):
        desk.clock.now += 30
        desk.inbox.record()
    assert sorted(row.name for row in desk.arrivals()) == sorted(set(pictures) - {"3.png"})
    taken.rmdir()
    desk.clock.now += 30
    assert desk.inbox.record() == 1
    assert len(desk.arrivals()) == 9


def test_a_large_drop_is_taken_piece_by_piece(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.waiting._CLAIMED_AT_ONCE", 4)
    for seed in range(10):
        desk.drop(f"{seed}.png", draw_radiograph(seed, width=16, height=16))
    desk.look()
    assert [desk.look(SETTLE), desk.inbox.record(), desk.look(), desk.look(), desk.look()] == [4, 4, 4, 2, 0]


def test_many_files_are_recorded_in_chunks(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(10):
        desk.drop(f"{seed}.png", draw_radiograph(seed, width=16, height=16))
    monkeypatch.setattr("worker.inbox.CHUNK_FILES", 4)
    assert desk.take() == 10
    assert desk.rung == [4, 4, 2]
    with desk.database.reading() as session:
        assert len(set(session.scalars(select(ArrivalRow.submission_id)))) == 3


def test_a_chunk_has_a_bound_in_bytes_but_holds_at_least_one_file(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(3):
        desk.drop(f"{seed}.png", draw_radiograph(seed))
    monkeypatch.setattr("worker.inbox.CHUNK_BYTES", 100)
    assert desk.take() == 3
    assert desk.rung == [1, 1, 1]


@pytest.mark.parametrize(
    "name",
    [
        *("x" * 251 + ".png", "Röntgen 手.png", "a\nb.png", os.fsdecode(b"caf\xe9.png"), " .png", "a.png.png"),
        *("-rf.png", "left hand.PNG", "a..b.png", "wrist.Jpeg", "scan", "%2e%2e%2fscan.png"),
    ],
)
def test_unusual_names_come_through(name: str, desk: Desk) -> None:
    desk.drop(name, draw_radiograph(1))
    assert desk.take() == 1
    desk.classify()
    assert desk.inbox.settle() == 1
    assert desk.below(desk.settings.done) == [name]


def test_a_missing_inbox_is_noticed_and_not_taken_for_an_empty_one(desk: Desk) -> None:
    desk.settings.inbox.rmdir()
    with pytest.raises(FileNotFoundError):
        desk.inbox.scan()
    desk.settings.inbox.mkdir()
    desk.drop("scan.png", draw_radiograph(1))
    assert desk.take() == 1


def test_files_that_cannot_leave_processing_do_not_block_those_behind_them(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.inbox._SETTLED_AT_ONCE", 2)
    for number in range(5):
        desk.drop(f"{number}.png", draw_radiograph(number))
    desk.take()
    desk.classify()
    stuck = [path for path in desk.in_processing() if path.name in ("0.png", "1.png", "2.png")]
    with monkeypatch.context() as patch:
        patch.setattr(
            "worker.custody.move_aside",
            lambda path, *rest, **more: raising(errno.EACCES)() if path in stuck else move_aside(path, *rest, **more),
        )
        moved = [desk.inbox.settle() for _ in range(6)]
    assert sum(moved) == 2
    assert desk.below(desk.settings.done) == ["3.png", "4.png"]
    assert sum(desk.inbox.settle() for _ in range(4)) == 3
    assert len(desk.below(desk.settings.done)) == 5
