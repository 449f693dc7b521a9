import errno
import os
from pathlib import Path

import pytest

from tests.fakes import raising
from worker.moving import move, move_aside, shortened, write_reason


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "processing").mkdir()
    path = tmp_path / "processing" / "scan.png"
    path.write_bytes(b"new")
    return path


@pytest.fixture
def done(tmp_path: Path) -> Path:
    return tmp_path / "done"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(params=["links", "another file system", "no links"])
def file_system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With hard links, without (FAT, some shares), and across a border that renames do not cross."""
    if request.param == "another file system":
        monkeypatch.setattr("worker.moving.os.link", raising(errno.EXDEV))
        renamed = Path.rename

        def rename(path: Path, target: Path) -> Path:
            if not path.name.startswith("."):  # copies in the making are on the right side already
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
            return renamed(path, target)

        monkeypatch.setattr(Path, "rename", rename)
    elif request.param == "no links":
        monkeypatch.setattr("worker.moving.os.link", raising(errno.EPERM))
    return str(request.param)


@pytest.mark.usefixtures("file_system")
def test_a_file_keeps_its_name_and_its_folder(source: Path, done: Path) -> None:
    target = move_aside(source, done, Path("study/a/scan.png"))
    assert target == done / "study" / "a" / "scan.png"
    assert contents(done) == {"study/a/scan.png": b"new"}
    assert not source.exists()


@pytest.mark.usefixtures("file_system")
def test_nothing_is_ever_overwritten_and_names_are_numbered(source: Path, done: Path) -> None:
    for number in range(4):
        source.write_bytes(b"%d" % number)
        move_aside(source, done, Path("scan.png"))
    assert contents(done) == {
        "scan.png": b"0",
        "scan (2).png": b"1",
        "scan (3).png": b"2",
        "scan (4).png": b"3",
    }


@pytest.mark.usefixtures("file_system")
def test_a_folder_in_the_way_counts_as_a_taken_name(source: Path, done: Path) -> None:
    (done / "scan.png").mkdir(parents=True)
    assert move_aside(source, done, Path("scan.png")).name == "scan (2).png"


@pytest.mark.usefixtures("file_system")
@pytest.mark.parametrize(
    "name",
    [
        pytest.param("x" * 251 + ".png", id="long stem"),
        pytest.param("手" * 83 + ".png", id="long characters"),
        pytest.param("x." + "y" * 253, id="long suffix"),
        pytest.param("x" * 255, id="no suffix"),
        pytest.param(os.fsdecode(b"\xff" * 251 + b".png"), id="no Unicode"),
    ],
)
def test_names_of_255_bytes_can_be_numbered_too(name: str, source: Path, done: Path) -> None:
    names = set()
    for _ in range(3):
        source.write_bytes(b"new")
        target = move_aside(source, done, Path(name))
        names.add(target.name)
        names.add(write_reason(target, ("It is damaged.",)).name)
    assert len(names) == 6
    assert all(len(os.fsencode(each)) <= 255 for each in names)
    assert len(contents(done)) == 6


def test_a_name_is_shortened_between_characters() -> None:
    assert shortened("手手手", 7) == "手手"
    assert shortened("abc", 3) == "abc"


def test_a_crash_between_link_and_unlink_is_finished_by_the_next_try(
    source: Path, done: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (done).mkdir()
    (done / "scan.png").write_bytes(b"old")
    with monkeypatch.context() as crash:
        crash.setattr(Path, "unlink", raising(errno.EIO))
        with pytest.raises(OSError, match="Input/output"):
            move_aside(source, done, Path("scan.png"))
    assert source.exists()
    assert move_aside(source, done, Path("scan.png")).name == "scan (2).png"
    assert contents(done) == {"scan.png": b"old", "scan (2).png": b"new"}
    assert not source.exists()


@pytest.mark.usefixtures("file_system")
def test_what_must_come_before_the_file_leaves_is_done_again_after_a_failure(source: Path, done: Path) -> None:
    seen = []

    def note(target: Path) -> None:
        seen.append((target.name, source.exists()))
        if len(seen) == 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match="No space"):
        move_aside(source, done, Path("scan.png"), before_leaving=note)
    assert source.exists()
    move_aside(source, done, Path("scan.png"), before_leaving=note)
    assert seen == [("scan.png", True), ("scan.png", True)]
    assert contents(done) == {"scan.png": b"new"}
    assert not source.exists()


def test_another_failure_is_told_and_the_file_stays(source: Path, done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.moving.os.link", raising(errno.EACCES))
    with pytest.raises(PermissionError):
        move_aside(source, done, Path("scan.png"))
    assert source.read_bytes() == b"new"


@pytest.mark.usefixtures("file_system")
def test_a_move_keeps_content_and_time(source: Path, tmp_path: Path) -> None:
    os.utime(source, (1_000_000, 1_000_000))
    (tmp_path / "other").mkdir()
    move(source, tmp_path / "other" / "scan.png", below=tmp_path)
    assert contents(tmp_path / "other") == {"scan.png": b"new"}
    assert (tmp_path / "other" / "scan.png").stat().st_mtime == 1_000_000
    assert not source.exists()


@pytest.mark.parametrize("file_system", ["another file system"], indirect=True)
@pytest.mark.parametrize("step", ["shutil.copyfile", "os.fsync"])
def test_a_copy_that_fails_leaves_the_source_and_no_half_file(
    step: str, file_system: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"worker.moving.{step}", raising(errno.ENOSPC))
    (tmp_path / "other").mkdir()
    with pytest.raises(OSError, match="No space"):
        move(source, tmp_path / "other" / "scan.png", below=tmp_path)
    assert source.read_bytes() == b"new"
    assert contents(tmp_path / "other") == {}


@pytest.mark.parametrize("file_system", ["another file system"], indirect=True)
def test_a_copy_has_its_name_only_when_it_is_whole_and_on_the_disk(
    file_system: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "other" / "scan.png"
    target.parent.mkdir()
    seen = []
    synced = os.fsync

    def watched(number: int) -> None:
        seen.append(target.exists())
        synced(number)

    monkeypatch.setattr("worker.moving.os.fsync", watched)
    move(source, target, below=tmp_path)
    assert seen == [False, True, True]  # the file, then the folders that name it


def test_a_reason_lies_beside_its_file_in_plain_words(done: Path) -> None:
    done.mkdir()
    path = write_reason(done / "scan.png", ("The first page is damaged.", "It was cancelled."))
    assert path.name == "scan.png.reason.txt"
    assert path.read_text() == "The first page is damaged.\nIt was cancelled.\n"


def test_a_reason_overwrites_no_file_of_that_name(done: Path) -> None:
    done.mkdir()
    (done / "scan.png.reason.txt").write_text("mine")
    assert write_reason(done / "scan.png", ("Damaged.",)).name == "scan.png.reason (2).txt"
    assert (done / "scan.png.reason.txt").read_text() == "mine"


def test_a_reason_written_before_a_crash_is_not_written_twice(done: Path) -> None:
    done.mkdir()
    for _ in range(2):
        write_reason(done / "scan.png", ("Damaged.",))
    assert list(contents(done)) == ["scan.png.reason.txt"]


def test_a_folder_whose_name_a_file_has_gets_a_number(tmp_path: Path) -> None:
    done = tmp_path / "done"
    (tmp_path / "first").write_text("a file")
    assert move_aside(tmp_path / "first", done, Path("monday")) == done / "monday"
    for name in ("one.png", "two.png"):
        (tmp_path / name).write_text(name)
        assert move_aside(tmp_path / name, done, Path("monday/wrist") / name) == done / "monday (2)/wrist" / name
    (tmp_path / "last").write_text("another file")
    assert move_aside(tmp_path / "last", done, Path("monday/wrist")) == done / "monday (2)/wrist (2)"
