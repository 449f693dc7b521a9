"""An inbox that is only read: nothing in it changes, and the database remembers what was taken."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from core.database import Database
from core.errors import ConfigurationError
from core.home import prepare_home
from core.readiness import look_over
from core.settings import Settings
from core.storage import FolderStore
from core.tables import ArrivalRow, ArrivalStatus, RadiographRow, SubmissionRow
from tests.conftest import copy_tables, draw_radiograph
from tests.dicom_files import dicom
from tests.fakes import jobs_of
from tests.unit.desk import SETTLE, Clock, Desk
from tests.unit.test_archives import zipped
from worker.doctor.ailments import Premises
from worker.doctor.examination import examine
from worker.doctor.store_checks import STORE_CHECKS


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """SQLite alone: the SQL behind the inbox is tested on both in other files."""
    return copy_tables(tmp_path / "test.db")


@pytest.fixture
def share(tmp_path: Path) -> Path:
    folder = tmp_path / "share" / "outgoing"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def desk(settings: Settings, database: Database, model_id: int, share: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    clock = Clock()
    clock.stand_in(monkeypatch)
    ours = settings.with_changes(settle_seconds=SETTLE, inbox=share, inbox_read_only=True)
    return Desk(ours, database, clock)


def everything(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Return all that can be told of a folder's content, but for when it was read."""
    return {
        path.relative_to(folder).as_posix(): (
            path.stat().st_mode,
            path.stat().st_mtime_ns,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in (folder, *folder.rglob("*"))
    }


def test_files_are_taken_once_and_stay_where_they_are(desk: Desk) -> None:
    desk.drop("scan.png", draw_radiograph(1))
    desk.drop("study/notes.txt", b"only words")
    before = everything(desk.settings.inbox.parent)
    assert desk.take() == 2
    desk.classify()
    assert desk.inbox.settle() == 2
    assert desk.take() == 0
    assert everything(desk.settings.inbox.parent) == before
    assert desk.below(desk.settings.done) == ["study.SUMMARY.csv"]
    assert desk.below(desk.settings.failed) == ["study/notes.txt.reason.txt"]
    assert [row.status for row in desk.arrivals()] == [ArrivalStatus.ACCEPTED, ArrivalStatus.REJECTED]
    assert desk.settings.done.parent == desk.settings.home


@pytest.mark.parametrize("settled", [False, True])
def test_a_restart_takes_nothing_again_and_writes_down_what_was_left_to_say(desk: Desk, settled: bool) -> None:
    desk.drop("scan.png", draw_radiograph(1))
    desk.drop("notes.txt", b"only words")
    desk.take()
    desk.classify()
    if settled:
        assert desk.inbox.settle() == 2
    desk.restart()
    assert desk.take() == 0
    assert desk.inbox.settle() == (0 if settled else 2)
    assert desk.below(desk.settings.failed) == ["notes.txt.reason.txt"]
    assert len(desk.arrivals()) == 2


def test_a_crash_between_claim_and_record_loses_nothing(desk: Desk) -> None:
    desk.drop("scan.png", draw_radiograph(1))
    desk.look()
    assert desk.look(SETTLE) == 1
    desk.restart()
    assert desk.take() == 1
    assert len(desk.arrivals()) == 1


def test_a_changed_file_under_the_same_name_is_a_new_arrival(desk: Desk) -> None:
    for seed in (1, 2):
        desk.drop("scan.png", draw_radiograph(seed))
        assert desk.take() == 1
    assert [row.name for row in desk.arrivals()] == ["scan.png", "scan.png"]
    assert len({row.sha256 for row in desk.arrivals()}) == len(jobs_of(desk.database)) == 2
    desk.restart()
    assert desk.take() == 0


def test_the_same_content_put_there_again_is_an_arrival_without_a_second_job(desk: Desk) -> None:
    path = desk.drop("scan.png", draw_radiograph(1))
    desk.take()
    os.utime(path, (1_000_000, 1_000_000))
    assert desk.take() == 1
    assert (len(desk.arrivals()), len(jobs_of(desk.database))) == (2, 1)


def test_a_share_that_was_away_brings_nothing_twice(desk: Desk) -> None:
    desk.drop("scan.png", draw_radiograph(1))
    desk.take()
    away = desk.settings.inbox.with_name("away")
    desk.settings.inbox.rename(away)
    with pytest.raises(FileNotFoundError):
        desk.inbox.scan()
    desk.settings.inbox.mkdir()  # the empty folder that another file system is mounted on
    assert desk.take() == 0
    desk.settings.inbox.rmdir()
    away.rename(desk.settings.inbox)
    assert desk.take() == 0
    assert len(desk.arrivals()) == 1


def test_a_writer_that_goes_on_is_waited_for(desk: Desk) -> None:
    data = draw_radiograph(1)
    path = desk.drop("scan.png", data[: len(data) // 2])
    desk.look()
    assert desk.look(5 * SETTLE) == 0  # it breaks off
    path.write_bytes(data)
    assert desk.take() == 1
    # and one that goes on after all, between taking and reading
    other = draw_radiograph(2)
    path = desk.drop("other.dat", other[:100])
    desk.look()
    assert desk.look(SETTLE * 10) == 1
    path.write_bytes(other)
    assert desk.inbox.record() == 0
    assert desk.take() == 1
    assert [row.bytes for row in desk.arrivals()] == [len(data), len(other)]


def test_archives_and_sidecars_stay_too_and_are_not_read_again_after_a_restart(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.drop("set.zip", zipped({"a.png": draw_radiograph(1), "b.png": draw_radiograph(2), "c.png": b"words"}))
    desk.drop("set.json", b'{"tags": ["left"], "priority": 5}')
    desk.drop("bad.png", draw_radiograph(3))
    desk.drop("bad.json", b"{")
    before = everything(desk.settings.inbox)
    assert desk.take() == 4
    desk.restart()
    desk.take()  # the archive is looked through for what has no arrival yet
    assert len(desk.arrivals()) == 4
    desk.classify()
    desk.inbox.settle()
    desk.inbox.settle()
    assert everything(desk.settings.inbox) == before
    assert desk.below(desk.settings.done) == ["set.zip.SUMMARY.csv"]
    assert desk.below(desk.settings.failed) == ["bad.json.reason.txt"]
    with desk.database.reading() as session:
        assert session.scalar(select(SubmissionRow.tags).where(SubmissionRow.name == "set.zip")) == ["left"]
    desk.restart()
    monkeypatch.setattr("worker.archives.survey", None)
    assert desk.take() == 0
    assert len(desk.arrivals()) == 4


def test_neither_rows_nor_claims_hold_the_name_of_a_dicom_file(desk: Desk) -> None:
    desk.drop("QUILLFEATHER_ADA/1.dcm", dicom())
    assert desk.take() == 1
    (row,) = desk.arrivals()
    assert "QUILL" not in f"{row.name} {row.claim}".upper()
    assert len(row.claim or "") == 24


def test_what_was_taken_before_the_inbox_became_read_only_ends_as_it_began(
    settings: Settings, database: Database, model_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    clock.stand_in(monkeypatch)
    desk = Desk(settings.with_changes(settle_seconds=SETTLE), database, clock)
    desk.drop("recorded.png", draw_radiograph(1))
    desk.take()
    desk.drop("claimed.png", draw_radiograph(2))
    desk.look()
    desk.look(SETTLE)
    desk.settings = desk.settings.with_changes(inbox_read_only=True)
    assert desk.restart() == 1
    assert desk.inbox.record() == 1
    desk.classify()
    assert desk.inbox.settle() == 2
    assert desk.below(desk.settings.done) == ["claimed.png", "recorded.png"]


def test_a_lost_original_is_brought_back_from_the_inbox(desk: Desk) -> None:
    desk.drop("scan.png", draw_radiograph(1))
    desk.take()
    store = FolderStore.at(desk.settings.store_url)
    with desk.database.reading() as session:
        key = session.scalars(select(RadiographRow.storage_key)).one()
    store.path(key).unlink()
    premises = Premises(desk.settings, desk.database, store, "doctor:test")
    check = next(check for check in STORE_CHECKS if check.name == "originals")
    assert check.examine(premises) is not None
    assert check.mend is not None
    check.mend(premises)
    assert check.examine(premises) is None


def test_an_inbox_that_is_only_to_be_read_is_not_made_and_may_be_unwritable(settings: Settings, tmp_path: Path) -> None:
    missing = settings.with_changes(inbox=tmp_path / "nowhere", inbox_read_only=True)
    with pytest.raises(ConfigurationError, match="cannot be read: No such file or directory"):
        prepare_home(missing)
    assert not (tmp_path / "nowhere").exists()


@pytest.fixture
def mounted(tmp_path: Path, share: Path) -> Iterator[Path]:
    """The share, mounted once more and read-only."""
    point = tmp_path / "mounted"
    point.mkdir()
    if os.getuid() != 0 or subprocess.run(["mount", "--bind", share, point], stderr=subprocess.DEVNULL).returncode:
        pytest.skip("a read-only mount needs the right to mount")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", point], check=True)
        yield point
    finally:
        subprocess.run(["umount", "--lazy", point], check=True)


def test_a_folder_that_is_mounted_read_only_is_an_inbox(
    settings: Settings,
    database: Database,
    model_id: int,
    share: Path,
    mounted: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours = settings.with_changes(inbox=mounted, settle_seconds=SETTLE)
    with pytest.raises(ConfigurationError, match=r"Read-only file system.*FRACTURE_INBOX_READ_ONLY=1"):
        prepare_home(ours)
    clock = Clock()
    clock.stand_in(monkeypatch)
    desk = Desk(ours.with_changes(inbox_read_only=True), database, clock)
    (share / "scan.png").write_bytes(draw_radiograph(1))
    (share / "notes.txt").write_bytes(b"only words")
    (share / "set.zip").write_bytes(zipped({"a.png": draw_radiograph(2)}))
    assert desk.take() == 3
    desk.classify()
    while desk.inbox.settle():
        pass
    desk.restart()
    assert desk.take() == 0
    assert desk.below(desk.settings.failed) == ["notes.txt.reason.txt"]
    assert desk.below(desk.settings.done) == ["set.zip.SUMMARY.csv"]
    with database.reading() as session:
        assert session.scalar(select(func.count()).select_from(ArrivalRow)) == 3
    folders = next(finding for finding in look_over(desk.settings, database) if finding.check == "folders")
    assert folders.ok, folders.words
    premises = Premises(desk.settings, database, FolderStore.at(desk.settings.store_url), "doctor:test")
    verdicts = {verdict.check: verdict.well for verdict in examine(premises, fix=False)}
    assert verdicts["writing"]
    assert verdicts["originals"]
