"""`fracture-queue explain`: the queue's own words about a file, and nothing touched."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from cli.commands.explain import explain
from cli.main import main
from core.database import Database
from core.preprocessing import read_model_input
from core.settings import Settings
from tests.conftest import draw_radiograph
from tests.dicom_files import dicom
from tests.fakes import card_document, saved, write_bundle
from tests.unit.desk import SETTLE, Clock, Desk
from tests.unit.test_archives import zipped

SIDE = card_document()["input"]["side"]


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    write_bundle(folder)
    return folder


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRACTURE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FRACTURE_MODELS", str(models))


def run(*arguments: object) -> Result:
    return CliRunner().invoke(explain, [str(argument) for argument in arguments])


def asked(*arguments: object) -> tuple[int, dict[str, Any]]:
    result = run(*arguments, "--json")
    return result.exit_code, json.loads(result.stdout)


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    path = tmp_path / "scan.png"
    path.write_bytes(draw_radiograph(1, width=96, height=128))
    return path


def test_a_radiograph_would_be_taken_and_is_described(scan: Path) -> None:
    code, said = asked(scan)
    assert (code, said["taken"], said["error"]) == (0, True, None)
    assert (said["media_type"], said["mode"], said["bytes"]) == ("image/png", "L", scan.stat().st_size)
    (page,) = said["pages"]
    assert (page["width"], page["height"], page["bit_depth"], page["error"]) == (96, 128, 8, None)
    (seen,) = page["inputs"]
    assert seen["models"] == ["fracture-types/1.0.0"]
    assert seen["place"] == {"width": 24, "height": 32, "left": 4, "top": 0}
    text = run(scan).stdout
    assert text.startswith("scan.png: would be taken.")
    assert "24 x 32 in a square of 32, black margins of 4 left, 4 right" in text


def test_the_preview_is_what_the_network_would_see(scan: Path, tmp_path: Path) -> None:
    preview = tmp_path / "seen.png"
    assert run(scan, "--preview", preview).exit_code == 0
    with Image.open(preview) as image:
        expected = read_model_input(scan.read_bytes(), side=SIDE, channels=1, max_pixels=10**6)
        np.testing.assert_array_equal(np.asarray(image), expected[:, :, 0])


@pytest.mark.parametrize("name", ["seen.jpg", "home/inbox/seen.png", "there.png", "no/such/folder.png"])
def test_a_preview_is_written_only_where_it_does_no_harm(
    name: str, scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "there.png").write_bytes(b"mine")
    with pytest.raises(SystemExit) as caught:
        main(["explain", str(scan), "--preview", str(tmp_path / name)])
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("fracture-queue: ")
    assert (tmp_path / "there.png").read_bytes() == b"mine"


def test_what_is_no_radiograph_is_said_in_a_word(tmp_path: Path) -> None:
    path = tmp_path / "white.png"
    path.write_bytes(saved(Image.new("L", (200, 200), 255), "PNG"))
    code, said = asked(path)
    assert code == 0
    assert said["pages"][0]["flags"] == ["blank"]
    assert "Not judged as a radiograph: blank" in run(path).stdout


def test_a_page_that_is_damaged_would_fail_after_the_door(tmp_path: Path) -> None:
    path = tmp_path / "cut.png"
    path.write_bytes(draw_radiograph(1)[:2000])
    code, said = asked(path)
    assert (code, said["taken"], said["error"]) == (1, False, None)
    assert said["pages"][0]["error"]["stage"] == "decoding"
    assert "breaks off" in said["notes"][0]
    assert "would be accepted, and then fail" in run(path).stdout


def test_a_dicom_file_is_described_without_its_patient(tmp_path: Path) -> None:
    path = tmp_path / "1.dcm"
    path.write_bytes(dicom())
    code, said = asked(path)
    assert code == 0
    assert (said["media_type"], said["dicom"]["modality"]) == ("application/dicom", "DX")
    assert said["mode"].startswith("MONOCHROME")


def test_an_archive_is_answered_file_by_file(tmp_path: Path) -> None:
    path = tmp_path / "set.zip"
    path.write_bytes(
        zipped({"a.png": draw_radiograph(1), "../b.png": draw_radiograph(2), "c.dcm": dicom(), ".DS_Store": b""})
    )
    code, said = asked(path, "--preview", tmp_path / "seen.png")
    assert (code, said["ignored"]) == (0, 1)
    assert [(file["name"], file["taken"]) for file in said["files"]] == [
        *(("a.png", True), ("../b.png", False), ("c.dcm", True)),
    ]
    assert (tmp_path / "seen.png").exists()
    path.write_bytes(zipped({"a.png": b"words", "b.png": b""}))
    code, said = asked(path)
    assert (code, said["error"]["words"]) == (1, "None of its 2 files could be used.")


def test_a_sidecar_is_read_and_is_not_taken_by_itself(scan: Path) -> None:
    beside = scan.with_suffix(".json")
    beside.write_text('{"tags": ["left"], "priority": 5}')
    assert asked(scan)[1]["sidecar"] == {"tags": ["left"], "submission": "", "priority": 5}
    code, said = asked(beside)
    assert (code, said["error"]["code"], said["error"]["stage"]) == (1, "sidecar", "inbox")
    beside.write_text("{")
    assert "no JSON" in asked(scan)[1]["notes"][0]


def test_a_file_that_cannot_be_looked_at_is_wrong_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["explain", str(tmp_path / "nowhere.png")])
    assert caught.value.code == 2
    assert "nowhere.png cannot be read: No such file or directory." in capsys.readouterr().err


def test_without_models_a_file_is_still_looked_at(scan: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FRACTURE_MODELS", str(tmp_path / "none"))
    code, said = asked(scan)
    assert (code, said["pages"][0]["inputs"]) == (0, [])
    assert "no model bundle" in said["notes"][0]


DROPS = {
    "good.png": draw_radiograph(1),
    "cut.png": draw_radiograph(2)[:2000],
    "notes.txt": b"only words",
    "empty.png": b"",
    "large.png": draw_radiograph(3) + b"\0" * 200_000,
    "1.dcm": dicom(),
    "mr.dcm": dicom(Modality="MR"),
    "set.zip": zipped({"a.png": draw_radiograph(4)}),
    "damaged.zip": zipped({"a.png": draw_radiograph(5)})[:300],
    "alone.json": b"{}",
    ".hidden.png": draw_radiograph(6),
    "scan.png.part": draw_radiograph(7),
}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_it_says_what_the_inbox_then_does(
    settings: Settings, database: Database, model_id: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FRACTURE_MAX_FILE_BYTES", "150000")
    clock = Clock()
    clock.stand_in(monkeypatch)
    desk = Desk(settings.with_changes(settle_seconds=SETTLE, max_file_bytes=150_000), database, clock)
    # given: what is said of each file where it lies
    said = {name: asked(desk.drop(name, data))[1] for name, data in DROPS.items()}
    # when
    desk.take()
    # then
    rows = {row.sha256 or row.bytes: row for row in desk.arrivals()}  # what is too large is not read
    left = {path.name for path in desk.settings.inbox.iterdir()}
    assert left == {name for name, each in said.items() if each["error"] and each["error"]["stage"] == "inbox"}
    assert left == {".hidden.png", "scan.png.part"}
    for name in DROPS.keys() - left - {"set.zip"}:
        data, error = DROPS[name], said[name]["error"]
        row = rows.get(hashlib.sha256(data).hexdigest()) or rows[len(data)]
        found = (error["code"], error["words"]) if error else (None, None)
        assert found == (row.error_code, row.error_words), name
    assert said["set.zip"]["taken"]


#: What Python tells its hooks before it changes anything outside the process, or talks to somebody.
CHANGES = (
    *("os.chmod", "os.chown", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink"),
    *("os.truncate", "os.utime", "shutil.copyfile", "shutil.move", "shutil.rmtree", "socket.connect"),
    *("socket.bind", "sqlite3.connect", "tempfile.mkdtemp", "tempfile.mkstemp"),
)


class Watcher:
    """Notes what the process changes; a hook cannot be taken away again, so it is told when to look."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self.looking = False
        sys.addaudithook(self.hear)

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.looking:
            return
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if (writes and arguments[0] not in ("/dev/null", os.devnull)) or event in CHANGES:
            self.found.append(f"{event} {arguments[:1]}")


@pytest.fixture(scope="module")
def watcher() -> Watcher:
    return Watcher()


def everything(folder: Path) -> dict[str, tuple[int, int, int]]:
    return {
        str(path): (path.lstat().st_mode, path.lstat().st_size, path.lstat().st_mtime_ns)
        for path in (folder, *folder.rglob("*"))
    }


@pytest.fixture
def no_bytecode() -> Iterator[None]:
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    yield
    sys.dont_write_bytecode = before


@pytest.mark.usefixtures("no_bytecode")
@pytest.mark.parametrize("installed", [False, True])
def test_nothing_is_touched(installed: bool, watcher: Watcher, tmp_path: Path, settings: Settings) -> None:
    folder = settings.inbox if installed else tmp_path / "elsewhere"
    folder.mkdir(parents=True)
    for name, data in DROPS.items():
        (folder / name).write_bytes(data)
    before = everything(tmp_path)
    for name in DROPS:
        watcher.looking = True
        try:
            result = run(folder / name)
        finally:
            watcher.looking = False
        assert result.exit_code in (0, 1), result.output
    assert watcher.found == []
    watcher.looking = True
    (tmp_path / "elsewhere.txt").write_bytes(b"")  # the watcher does watch
    watcher.looking = False
    assert watcher.found.pop().startswith("open")
    (tmp_path / "elsewhere.txt").unlink()
    before[str(tmp_path)] = everything(tmp_path)[str(tmp_path)]
    assert everything(tmp_path) == before
    assert (tmp_path / "home").exists() is installed
