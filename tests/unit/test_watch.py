import errno
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from core.database import Database
from core.errors import ConfigurationError
from core.file_systems import FileSystem
from core.records.controls import INTAKE, pause, resume
from core.records.workers import living
from core.settings import Settings
from core.tables import ArrivalStatus
from tests.conftest import copy_tables, draw_radiograph, wait_until
from tests.fakes import jobs_of, raising
from tests.unit.desk import Desk
from tests.unit.test_inbox_troubles import raise_unavailable
from worker import inbox_loop
from worker.inbox import Inbox
from worker.inbox_loop import run_inbox, scan_pause, watch_inbox
from worker.watch import FolderWatch, _Hints

Watching = Callable[..., AbstractContextManager[Desk]]


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """SQLite alone: the SQL behind the inbox is tested on both in other files."""
    return copy_tables(tmp_path / "test.db")


@pytest.fixture
def watching(settings: Settings, database: Database, model_id: int) -> Watching:
    """Run the inbox's loop in a thread of this process."""

    @contextmanager
    def watch(**changes: Any) -> Iterator[Desk]:
        desk = Desk(settings.with_changes(settle_seconds=0.15, **changes), database)
        stop = threading.Event()
        thread = threading.Thread(target=watch_inbox, args=(desk.settings, database, desk.inbox, stop))
        thread.start()
        try:
            yield desk
        finally:
            stop.set()
            thread.join(timeout=30)
            assert not thread.is_alive()

    return watch


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """All that watchdog has told us of, ignored or not."""
    told: list[Any] = []
    pass_on = _Hints.on_any_event

    def note(hints: _Hints, event: Any) -> None:
        told.append(event)
        pass_on(hints, event)

    monkeypatch.setattr(_Hints, "on_any_event", note)
    return told


def until_watched(desk: Desk, events: list[Any]) -> None:
    """Return when events arrive: watchdog sets its watch up in a thread of its own, a moment after the start."""

    def touched() -> bool:
        (desk.settings.inbox / ".probe").touch()
        return bool(events)

    wait_until(touched, within_seconds=30, what="an event arrives")


def recorded(desk: Desk, count: int) -> None:
    wait_until(lambda: len(desk.arrivals()) >= count, within_seconds=30, what=f"{count} files are recorded")
    assert len(desk.arrivals()) == count


def test_a_file_is_noticed_by_its_event_long_before_the_next_scan(watching: Watching, events: list[Any]) -> None:
    with watching(rescan_seconds=3600) as desk:
        until_watched(desk, events)
        desk.drop("scan.png", draw_radiograph(1))
        recorded(desk, 1)
        desk.classify()
        wait_until(lambda: desk.below(desk.settings.done) == ["scan.png"], within_seconds=30, what="it is moved on")


def reported(desk: Desk) -> bool:
    with desk.database.reading() as session:
        return len(living(session, role="inbox", within_seconds=60)) == 1


def test_polling_needs_no_event_of_the_system(watching: Watching, events: list[Any]) -> None:
    with watching(rescan_seconds=3600, inbox_polling=True) as desk:
        wait_until(lambda: reported(desk), within_seconds=30, what="the loop runs")
        desk.drop("study/scan.png", draw_radiograph(1))
        recorded(desk, 1)
    assert events == []


def test_a_slow_share_is_left_alone_between_two_looks(settings: Settings) -> None:
    polling = settings.with_changes(inbox_polling=True, settle_seconds=1.0, rescan_seconds=5.0)
    assert [scan_pause(polling, took=took) for took in (0.01, 0.5, 30.0)] == [1.0, 2.0, 120.0]
    assert scan_pause(polling.with_changes(inbox_polling=False), took=0.01) == 5.0


@pytest.mark.parametrize("polling", [False, True])
def test_an_inbox_on_a_share_that_is_not_polled_is_told_of(
    polling: bool, watching: Watching, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(inbox_loop, "file_system_of", lambda _: FileSystem("cifs", "/mnt", read_only=False))
    with watching(inbox_polling=polling) as desk:
        wait_until(lambda: reported(desk), within_seconds=30, what="the loop runs")
    assert ("FRACTURE_INBOX_POLLING=1" in caplog.text) is not polling


def test_a_lost_event_is_made_good_by_the_next_scan(watching: Watching, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.watch._Hints.on_any_event", lambda *_: None)
    seen: list[tuple[bool, bool]] = []  # of each scan: whether the file was there when it began, and found at its end
    scan = Inbox.scan

    def noted(inbox: Inbox) -> None:
        path = inbox._settings.inbox / "scan.png"
        there = path.exists()
        scan(inbox)
        seen.append((there, path in inbox.waiting.tracker))

    monkeypatch.setattr(Inbox, "scan", noted)
    with watching(rescan_seconds=0.3) as desk:
        wait_until(lambda: reported(desk), within_seconds=30, what="the loop runs")
        desk.drop("scan.png", draw_radiograph(1))
        recorded(desk, 1)
    assert next(found for there, found in seen if there)


def test_a_paused_intake_leaves_files_where_they_are_and_takes_them_when_it_is_resumed(
    watching: Watching, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with watching(rescan_seconds=0.3) as desk:
        wait_until(lambda: reported(desk), within_seconds=30, what="the loop runs")
        with desk.database.transaction() as session:
            pause(session, INTAKE, actor="test", note="new disk")
        wait_until(lambda: "Files stay in the inbox." in caplog.text, within_seconds=30, what="the pause is noticed")
        path = desk.drop("scan.png", draw_radiograph(1))
        wait_until(lambda: path in desk.inbox.waiting.tracker, within_seconds=30, what="the file is seen")
        settled = time.monotonic() + 3 * desk.settings.settle_seconds
        wait_until(lambda: time.monotonic() > settled, within_seconds=30, what="it would have been taken")
        assert path.exists()
        assert desk.arrivals() == []
        with desk.database.transaction() as session:
            resume(session, INTAKE, actor="test")
        recorded(desk, 1)


def test_where_nothing_can_be_watched_the_scan_is_enough_and_it_is_told_once(
    watching: Watching, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("worker.watch.Observer.schedule", raising(errno.EMFILE))
    with watching(rescan_seconds=0.3) as desk:
        desk.drop("scan.png", draw_radiograph(1))
        recorded(desk, 1)
    assert caplog.text.count("it is scanned on a timer") == 1


def test_two_hundred_files_in_one_copy_are_recorded_once_each(watching: Watching, tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    for seed in range(200):
        (tmp_path / "study" / f"{seed}.png").write_bytes(draw_radiograph(seed, width=24, height=24))
    with watching(rescan_seconds=0.3) as desk:
        subprocess.run(["cp", "-r", tmp_path / "study", desk.settings.inbox], check=True)
        recorded(desk, 200)
        assert {row.status for row in desk.arrivals()} == {ArrivalStatus.ACCEPTED}
        assert len(jobs_of(desk.database)) == sum(desk.rung) == 200
        assert desk.below(desk.settings.inbox) == []


def test_a_folder_that_is_moved_in_is_taken_whole(watching: Watching, events: list[Any], tmp_path: Path) -> None:
    (tmp_path / "study" / "deep").mkdir(parents=True)
    for seed in range(3):
        (tmp_path / "study" / "deep" / f"{seed}.png").write_bytes(draw_radiograph(seed))
    with watching(rescan_seconds=3600) as desk:
        until_watched(desk, events)
        (tmp_path / "study").rename(desk.settings.inbox / "study")
        recorded(desk, 3)


def test_a_file_that_is_moved_in_from_elsewhere_is_noticed(
    watching: Watching, events: list[Any], tmp_path: Path
) -> None:
    (tmp_path / "scan.png").write_bytes(draw_radiograph(1))
    with watching(rescan_seconds=3600) as desk:
        until_watched(desk, events)
        (tmp_path / "scan.png").rename(desk.settings.inbox / "scan.png")
        recorded(desk, 1)


@pytest.mark.parametrize("polling", [False, True])
def test_an_inbox_that_vanishes_and_returns_is_watched_again(
    polling: bool, watching: Watching, caplog: pytest.LogCaptureFixture
) -> None:
    with watching(rescan_seconds=0.3, inbox_polling=polling) as desk:
        desk.drop("before.png", draw_radiograph(1))
        recorded(desk, 1)
        desk.settings.inbox.rename(desk.settings.home / "unmounted")
        wait_until(lambda: "cannot be read" in caplog.text, within_seconds=30, what="the absence is told")
        desk.settings.inbox.mkdir()
        desk.drop("after.png", draw_radiograph(2))
        recorded(desk, 2)
    assert caplog.text.count("cannot be read") == 1
    assert "is back" in caplog.text


def test_a_database_that_is_away_at_the_start_delays_and_loses_nothing(
    watching: Watching, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    database_file = tmp_path / "test.db"
    with monkeypatch.context() as broken:
        for name in ("transaction", "reading"):
            broken.setattr(Database, name, raise_unavailable)
        with watching(rescan_seconds=0.3, heartbeat_seconds=0.1) as desk:
            desk.drop("scan.png", draw_radiograph(1))
            wait_until(
                lambda: "files wait in processing/" in caplog.text, within_seconds=30, what="the file was claimed"
            )
            broken.undo()
            recorded(desk, 1)
    assert database_file.exists()


def until_told(watch: FolderWatch, path: Path) -> Path:
    """Write a file until its event arrives; return the first path that is told."""

    def written() -> bool:
        path.write_bytes(b"x")
        return not watch.changed.empty()

    wait_until(written, within_seconds=30, what="an event arrives")
    return watch.changed.get()


def test_a_watch_is_started_again_when_its_thread_or_its_folder_is_another(tmp_path: Path) -> None:
    folder = tmp_path / "watched"
    folder.mkdir()
    watch = FolderWatch(folder, polling=False)
    try:
        assert [watch.keep_up(), watch.keep_up()] == [True, False]
        assert watch._observer is not None
        watch._observer.stop()
        watch._observer.join(timeout=10)
        assert [watch.keep_up(), watch.keep_up()] == [True, False]
        folder.rename(tmp_path / "old")
        with pytest.raises(FileNotFoundError):
            watch.keep_up()
        folder.mkdir()
        assert [watch.keep_up(), watch.keep_up()] == [True, False]
        assert folder / "scan.png" == until_told(watch, folder / "scan.png")
    finally:
        watch.stop()


def test_reading_a_file_and_touching_its_attributes_are_no_events(tmp_path: Path) -> None:
    (tmp_path / "scan.png").write_bytes(b"x")
    watch = FolderWatch(tmp_path, polling=False)
    watch.keep_up()
    try:
        until_told(watch, tmp_path / "probe.png")
        (tmp_path / "scan.png").read_bytes()
        (tmp_path / "scan.png").chmod(0o600)
        (tmp_path / "last.png").touch()
        told = set()
        while "last.png" not in told:
            told.add(watch.changed.get(timeout=30).name)
        assert told <= {"probe.png", "last.png"}
    finally:
        watch.stop()


def test_a_second_process_on_the_same_inbox_is_refused(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.opening.signal.signal", lambda *_: None)
    ours = settings.with_changes(database_url=database.url.render_as_string(hide_password=False))
    ours.processing.mkdir(parents=True)
    with (
        inbox_loop._only_one(ours.processing / ".lock"),
        pytest.raises(ConfigurationError, match="Another inbox process already watches this inbox"),
    ):
        run_inbox(ours)


def test_a_share_without_locks_is_watched_with_a_warning(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("core.locks.fcntl.flock", raising(errno.ENOLCK))
    settings.processing.mkdir(parents=True)
    with inbox_loop._only_one(settings.processing / ".lock"):
        assert "cannot be locked" in caplog.text


def test_the_lock_does_not_count_as_a_claimed_file(settings: Settings, database: Database, model_id: int) -> None:
    desk = Desk(settings, database)
    (settings.processing / ".lock").touch()
    assert desk.restart() == 0
