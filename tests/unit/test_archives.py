"""Archives: what is in them comes in once, and nothing in them leads anywhere."""

from __future__ import annotations

import csv
import gzip
import io
import random
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.archives import Limits, is_archive, members, survey
from core.database import Database
from core.errors import RejectedImage, StoreUnavailable
from core.settings import Settings
from core.tables import ArrivalStatus
from tests.conftest import draw_radiograph
from tests.dicom_files import dicom, ramp
from tests.planted import found_in, planted_files
from tests.unit.desk import SETTLE, Clock, Desk
from tests.unit.test_identifiers import dump
from tests.unit.web_fixtures import Site

LIMITS = Limits(files=100, bytes=20 * 2**20, file_bytes=2**20)
HANDS = {f"hands/{number}.png": draw_radiograph(number) for number in range(1, 4)}


def zipped(files: dict[str, bytes], **options: int) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return stream.getvalue()


def tarred(files: dict[str, bytes], mode: str = "w:gz", extra: tuple[tarfile.TarInfo, ...] = ()) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for info in extra:
            archive.addfile(info)
    return stream.getvalue()


def plain_tar(files: dict[str, bytes]) -> bytes:
    return tarred(files, "w")


def taken(data: bytes, limits: Limits = LIMITS) -> dict[str, bytes | str]:
    """Return what comes out: content, or the sentence of the refusal."""
    stream = io.BytesIO(data)
    survey(stream, limits)
    found = {}
    for file in members(stream, limits):
        found[file.name] = file.data if file.data is not None else str(file.problem or "too large")
    return found


PACKERS = pytest.mark.parametrize("pack", [zipped, tarred, plain_tar])


@PACKERS
def test_files_come_out_as_they_went_in(pack: Callable[[dict[str, bytes]], bytes]) -> None:
    data = pack(HANDS)
    assert is_archive(data[:512])
    assert taken(data) == HANDS


@PACKERS
def test_what_systems_leave_in_folders_is_ignored_and_counted(pack: Callable[[dict[str, bytes]], bytes]) -> None:
    junk = {"__MACOSX/._1.png": b"x", "hands/.DS_Store": b"x", "hands/Thumbs.db": b"x"}
    data = pack({**HANDS, **junk})
    contents = survey(io.BytesIO(data), LIMITS)
    assert (contents.files, contents.ignored, contents.with_dicom) == (3, 3, False)
    assert taken(data) == HANDS


@PACKERS
@pytest.mark.parametrize("name", ["../../etc/cron.d/x", "/etc/passwd", "a/../../b.png", "C:\\windows\\x.png", "..\\x"])
def test_a_path_out_of_the_archive_is_refused(pack: Callable[[dict[str, bytes]], bytes], name: str) -> None:
    found = taken(pack({name: b"x", **HANDS}))
    assert [
        words for words in found.values() if words == "Its path leads out of the archive; such files are not taken."
    ]
    assert HANDS.items() <= found.items()


@PACKERS
def test_an_archive_in_an_archive_is_refused(pack: Callable[[dict[str, bytes]], bytes]) -> None:
    found = taken(pack({"inner.zip": zipped(HANDS), "inner.tgz": tarred(HANDS), **HANDS}))
    assert found["inner.zip"] == found["inner.tgz"] == "An archive within an archive is not unpacked."


def test_links_and_devices_are_not_followed() -> None:
    link, hard, pipe = (tarfile.TarInfo(name) for name in ("link.png", "hard.png", "pipe.png"))
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    hard.type, hard.linkname = tarfile.LNKTYPE, "hands/1.png"
    pipe.type = tarfile.FIFOTYPE
    found = taken(tarred(HANDS, extra=(link, hard, pipe)))
    assert {found[name] for name in ("link.png", "hard.png", "pipe.png")} == {
        "It is a link or a device, not a file; such are not followed."
    }
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        info = zipfile.ZipInfo("link.png")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    assert "link" in str(taken(stream.getvalue())["link.png"])


def test_what_would_become_too_much_is_refused_before_anything_is_taken() -> None:
    zeros = {"a.bmp": bytes(15 * 2**20)}
    packers: tuple[Callable[..., bytes], ...] = (zipped, tarred, plain_tar)
    for pack in packers[:2]:
        with pytest.raises(RejectedImage) as refused:
            survey(io.BytesIO(pack(zeros)), Limits(files=100, bytes=2**34, file_bytes=2**30))
        assert refused.value.code == "unsafe-archive"
    many = {f"{number}.png": b"x" for number in range(101)}
    big = {f"{number}.png": random.Random(number).randbytes(2**20) for number in range(6)}
    for pack in packers:
        with pytest.raises(RejectedImage, match="more than 100 files"):
            survey(io.BytesIO(pack(many)), LIMITS)
        with pytest.raises(RejectedImage, match=r"becomes more than"):
            survey(io.BytesIO(pack(big)), Limits(files=100, bytes=4 * 2**20, file_bytes=2**30))


@pytest.mark.parametrize(
    "data",
    [
        zipped(HANDS)[:-30],
        zipped({}),
        tarred(HANDS)[:-2000],
        plain_tar(HANDS)[:1000],
        gzip.compress(b"no tar"),
        gzip.compress(draw_radiograph(1)),
        b"PK\x03\x04" + bytes(500),
        b"\x1f\x8b" + bytes(500),
    ],
    # Of names of their own: some of the contents hold the time at which they were made.
    ids=[
        "cut zip",
        "empty zip",
        "cut tgz",
        "cut tar",
        "gzip of words",
        "gzip of a picture",
        "zip of zeros",
        "gzip of zeros",
    ],
)
def test_a_damaged_or_empty_archive_is_one_sentence(data: bytes) -> None:
    with pytest.raises(RejectedImage, match=r"\.$"):
        taken(data)


def test_a_damaged_file_in_a_sound_archive_is_rejected_alone() -> None:
    data = bytearray(zipped(HANDS))
    at = data.index(HANDS["hands/2.png"][:0] + b"hands/2.png") + 40
    data[at : at + 20] = bytes(20)
    found = taken(bytes(data))
    assert found["hands/2.png"] == "The archive is damaged at this file."
    assert (found["hands/1.png"], found["hands/3.png"]) == (HANDS["hands/1.png"], HANDS["hands/3.png"])


@pytest.fixture
def desk(settings: Settings, database: Database, model_id: int, monkeypatch: pytest.MonkeyPatch) -> Desk:
    clock = Clock()
    clock.stand_in(monkeypatch)
    return Desk(settings.with_changes(settle_seconds=SETTLE), database, clock)


def summary(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@PACKERS
def test_each_file_of_a_dropped_archive_is_an_arrival_of_one_submission(
    desk: Desk, pack: Callable[[dict[str, bytes]], bytes]
) -> None:
    data = pack({**HANDS, "notes.txt": b"=1+1", "=danger.txt": b"words"})
    desk.drop("study", data)
    assert desk.take() == 5
    assert len({arrival.submission_id for arrival in desk.arrivals()}) == 1
    assert [arrival.name for arrival in desk.arrivals()] == [*HANDS, "notes.txt", "=danger.txt"]
    assert desk.inbox.settle() == 2  # the rejected ones have ended
    assert (desk.settings.done / "study").exists() is False
    desk.classify()
    desk.inbox.settle()
    assert desk.below(desk.settings.done) == ["study", "study.SUMMARY.csv"]
    assert (desk.settings.done / "study").read_bytes() == data
    assert desk.in_processing() == []
    rows = summary(desk.settings.done / "study.SUMMARY.csv")
    assert [row["status"] for row in rows] == ["done"] * 3 + ["rejected"] * 2
    assert rows[4]["name"] == "'=danger.txt"  # no formula
    assert rows[0]["label"]
    assert desk.restart() == 0


def test_an_archive_of_which_nothing_can_be_used_fails_with_the_reasons(desk: Desk) -> None:
    desk.drop("letters.zip", zipped({"a.txt": b"a", "b.txt": b"b"}))
    desk.drop("letter.zip", zipped({"c.txt": b"c"}))
    desk.drop("broken.zip", zipped(HANDS)[:-30])
    desk.take()
    desk.inbox.settle()
    assert desk.below(desk.settings.failed) == [
        *("broken.zip", "broken.zip.reason.txt"),
        *("letter.zip", "letter.zip.SUMMARY.csv", "letter.zip.reason.txt"),
        *("letters.zip", "letters.zip.SUMMARY.csv", "letters.zip.reason.txt"),
    ]
    reason = (desk.settings.failed / "letters.zip.reason.txt").read_text()
    assert reason == "None of its 2 files could be used; letters.zip.SUMMARY.csv says why.\n"
    reason = (desk.settings.failed / "letter.zip.reason.txt").read_text()
    assert reason == "Its only file could not be used; letter.zip.SUMMARY.csv says why.\n"


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_a_crash_in_the_middle_neither_loses_nor_doubles(desk: Desk, monkeypatch: pytest.MonkeyPatch, cut: int) -> None:
    monkeypatch.setattr("worker.inbox.CHUNK_FILES", 2)
    desk.restart()
    files = {f"{number}.png": draw_radiograph(number) for number in range(7)}
    desk.drop("study.zip", zipped(files))
    taken, take = 0, desk.ingest.take

    def dies(*arguments: object) -> object:
        nonlocal taken
        taken += 1
        if taken > cut:
            raise KeyboardInterrupt
        return take(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(desk.ingest, "take", dies)
        with pytest.raises(KeyboardInterrupt):
            desk.take()
    assert len(desk.arrivals()) == 2 * cut
    assert desk.restart() == 1
    desk.classify()
    desk.inbox.settle()
    assert desk.below(desk.settings.done) == []  # the rest is still to come
    desk.inbox.record()
    desk.classify()
    desk.inbox.settle()
    assert sorted(arrival.name for arrival in desk.arrivals()) == sorted(files)
    assert len({arrival.submission_id for arrival in desk.arrivals()}) == 1
    assert desk.below(desk.settings.done) == ["study.zip", "study.zip.SUMMARY.csv"]
    # Recorded whole, but not moved on before the next crash.
    desk.drop("again.zip", zipped(files))
    desk.take()
    assert desk.restart() == 1
    assert desk.inbox.record() == 0
    assert len(desk.arrivals()) == 14


def test_an_archive_waits_while_the_store_is_full(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        free = 10

    desk.drop("study.zip", zipped(HANDS))
    with monkeypatch.context() as patch:
        patch.setattr("worker.archives.shutil.disk_usage", lambda _: Usage)
        assert desk.take() == 0
    assert desk.arrivals() == []
    desk.clock.now += 100
    assert desk.inbox.record() == 3


@pytest.fixture
def site(settings: Settings, database_url: str) -> Iterator[Site]:
    site = Site(settings.with_changes(database_url=database_url))
    yield site
    site.database.dispose()


def test_an_uploaded_archive_is_answered_file_by_file(site: Site) -> None:
    answer = site.upload(("study.zip", zipped({**HANDS, "notes.txt": b"x"})), ("hand.png", draw_radiograph(9)))
    assert answer.status_code == 202
    files = answer.json["files"]
    assert [file["name"] for file in files] == [*HANDS, "notes.txt", "hand.png"]
    assert [file["status"] for file in files].count(ArrivalStatus.REJECTED) == 1
    refused = site.upload(("broken.zip", zipped(HANDS)[:-30]))
    assert refused.status_code == 422
    assert refused.json["files"][0]["error"]["words"] == "The archive is damaged or cut off."


def test_names_in_an_archive_with_dicom_are_not_kept(site: Site, desk: Desk) -> None:
    files = {f"QUILLFEATHER/{name}": data for name, data in planted_files().items()}
    files["QUILLFEATHER/report of QUILLFEATHER.txt"] = b"words"
    assert site.upload(("QUILLFEATHER.zip", zipped(files))).status_code == 202
    assert found_in(dump(site)) == set()
    desk.drop("QUILLFEATHER.tar.gz", tarred({"QX7731905.txt": b"x", "a": dicom(ramp() // 9, PatientID="QX7731905")}))
    desk.take()
    assert len(desk.arrivals()) == len(files) + 2
    assert not any(found_in(repr(vars(arrival)).encode()) for arrival in desk.arrivals())


def test_a_store_that_is_away_records_nothing_twice(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.drop("study.zip", zipped(HANDS))

    def away(*_: object) -> str:
        raise StoreUnavailable

    with monkeypatch.context() as patch:
        patch.setattr("core.storage.FolderStore.put", away)
        assert desk.take() == 0
    desk.clock.now += 100
    assert desk.inbox.record() == 3
    assert len(desk.arrivals()) == 3
