"""The inbox, or `done/`, on a file system of its own, and a process that is killed at each step between the two."""

from __future__ import annotations

import errno
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.disks import DiskFailed, mounted
from core.database import Database
from core.settings import Settings
from tests.conftest import PROJECT, copy_tables, draw_radiograph
from tests.fakes import jobs_of, raising
from tests.unit.desk import SETTLE, Clock, Desk
from worker.custody import Processing

#: Moments within `worker.moving.move`: a function of that module, and whether its call has returned.
STEPS = {
    "nothing copied": "shutil.copyfile before",
    "copied, not on the disk": "os.fsync before",
    "on the disk, without its name": "os.fsync after",
    "named, source still there": "sync_folder before",
    "name on the disk, source still there": "sync_folder after",
}
#: Dies by SIGKILL at a step of what it is told to do.
DYING = """
import os, signal, sys
from pathlib import Path
import worker.moving as moving
from core.settings import Settings
from worker.custody import Processing
from worker.settling import Look

home, what, name, step, moment = sys.argv[1:]
custody = Processing(Settings(home=Path(home)))
*owners, function = step.split(".")
place = getattr(moving, owners[0]) if owners else moving
called = getattr(place, function)

def die(*arguments, **options):
    if moment == "after":
        called(*arguments, **options)
    os.kill(os.getpid(), signal.SIGKILL)

setattr(place, function, die)
if what == "claim":
    path = Path(home, "inbox", name)
    custody.claim(path, Look.at(path))
else:
    custody.put_away(name, failed=False)
"""


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """SQLite alone: the SQL behind the inbox is tested on both in other files."""
    return copy_tables(tmp_path / "test.db")


def die(desk: Desk, what: str, name: str, step: str) -> None:
    command = [sys.executable, "-c", DYING, str(desk.settings.home), what, name, *step.split()]
    ended = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr


@pytest.fixture(params=["inbox", "done"])
def apart(request: pytest.FixtureRequest, settings: Settings) -> Iterator[str]:
    """A folder of the home on another file system: mounted where that is allowed, else in shared memory."""
    folder = settings.home / request.param
    settings.home.mkdir(parents=True)
    try:
        with mounted(folder):
            yield str(request.param)
            return
    except DiskFailed:
        folder.rmdir()
    elsewhere = Path("/dev/shm")  # noqa: S108 - a folder of our own within
    if not elsewhere.is_dir() or elsewhere.stat().st_dev == settings.home.stat().st_dev:
        pytest.skip("there is no second file system here")
    place = Path(tempfile.mkdtemp(dir=elsewhere))
    folder.symlink_to(place)
    yield str(request.param)
    shutil.rmtree(place)


@pytest.fixture
def desk(apart: str, settings: Settings, database: Database, model_id: int, monkeypatch: pytest.MonkeyPatch) -> Desk:
    clock = Clock()
    clock.stand_in(monkeypatch)
    desk = Desk(settings.with_changes(settle_seconds=SETTLE), database, clock)
    other = getattr(desk.settings, apart)
    assert other.stat().st_dev != desk.settings.processing.stat().st_dev
    return desk


def test_files_cross_the_border_and_keep_name_content_and_time(desk: Desk) -> None:
    path = desk.drop("study/scan.png", draw_radiograph(1))
    desk.drop("study/scan.json", b'{"tags": ["left"]}')
    at = path.stat().st_mtime_ns
    desk.drop("notes.txt", b"only words")
    assert desk.take() == 2
    assert desk.below(desk.settings.inbox) == []
    desk.classify()
    assert desk.inbox.settle() == 2
    assert desk.below(desk.settings.done) == ["study.SUMMARY.csv", "study/scan.png", "study/scan.png.json"]
    assert (desk.settings.done / "study/scan.png").stat().st_mtime_ns == at
    assert desk.below(desk.settings.failed) == ["notes.txt", "notes.txt.reason.txt"]
    assert desk.in_processing() == []


@pytest.mark.parametrize("step", STEPS)
def test_a_process_that_is_killed_between_the_steps_neither_loses_nor_doubles(
    step: str, apart: str, desk: Desk
) -> None:
    desk.drop("scan.png", draw_radiograph(1))
    # when it dies, on the way in or on the way out
    if apart == "inbox":
        die(desk, "claim", "scan.png", STEPS[step])
    else:
        desk.take()
        desk.classify()
        die(desk, "put away", desk.arrivals()[0].claim or "", STEPS[step])
    # then the next one takes up what it finds
    desk.restart()
    desk.inbox.record()
    desk.take()
    desk.classify()
    desk.inbox.settle()
    assert desk.below(desk.settings.done) == ["scan.png"]
    assert (desk.settings.done / "scan.png").read_bytes() == draw_radiograph(1)
    assert (len(desk.arrivals()), len(jobs_of(desk.database))) == (1, 1)
    assert desk.below(desk.settings.inbox) == desk.in_processing() == []


@pytest.mark.parametrize("apart", ["inbox"], indirect=True)
def test_a_sidecar_whose_copy_was_left_behind_is_taken_once(desk: Desk) -> None:
    desk.drop("scan.png", draw_radiograph(1))
    note = desk.drop("scan.json", b'{"tags": ["left"]}')
    for _ in range(3):
        desk.look(SETTLE)
    (claim,) = (path.name for path in desk.settings.processing.iterdir())
    shutil.copy2(desk.settings.processing / claim / ".sidecar.json", note)  # as if it had died before its unlink
    desk.restart()
    assert desk.inbox.record() == 1
    assert desk.take() == 0
    assert len(desk.arrivals()) == 1


@pytest.mark.parametrize("apart", ["inbox"], indirect=True)
def test_a_source_that_may_not_be_removed_leaves_no_copy_behind(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = desk.drop("scan.png", draw_radiograph(1))
    removed = Path.unlink

    def unlink(file: Path, missing_ok: bool = False) -> None:
        if file == path:
            raising(errno.EROFS)()
        removed(file, missing_ok=missing_ok)

    with monkeypatch.context() as locked:
        locked.setattr(Path, "unlink", unlink)
        assert desk.take() == 0
        assert desk.in_processing() == []
        assert "Read-only file system" in caplog.text
    assert desk.take() == 1
    assert len(desk.arrivals()) == 1


@pytest.mark.parametrize("apart", ["inbox"], indirect=True)
def test_a_file_that_only_looks_like_the_copy_is_kept(desk: Desk) -> None:
    desk.drop("scan.png", draw_radiograph(1))
    desk.look()
    assert desk.look(SETTLE) == 1
    (claim,) = (path.name for path in desk.settings.processing.iterdir())
    desk.drop("scan.png", draw_radiograph(2))  # another one of that name came before the restart
    custody = Processing(desk.settings)
    assert not custody.finish_copy(claim)
    desk.restart()
    desk.inbox.record()
    desk.take()
    assert len({row.sha256 for row in desk.arrivals()}) == 2
