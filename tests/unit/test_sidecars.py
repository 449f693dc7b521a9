"""Folders as tags, sidecars, and the table that answers a folder."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from core.database import Database
from core.records.claims import Outcome
from core.settings import Settings
from core.tables import JobRow, ModelVersionRow, SubmissionRow
from tests.conftest import add_model, draw_radiograph
from tests.dicom_files import dicom
from tests.fakes import claimed, some_answer, store
from tests.unit.desk import SETTLE, Clock, Desk
from tests.unit.test_archives import zipped
from worker.sidecars import BadSidecar, read_sidecar


@pytest.fixture
def desk(settings: Settings, database: Database, model_id: int, monkeypatch: pytest.MonkeyPatch) -> Desk:
    clock = Clock()
    clock.stand_in(monkeypatch)
    return Desk(settings.with_changes(settle_seconds=SETTLE), database, clock)


def submissions(desk: Desk) -> dict[str, SubmissionRow]:
    """Return the submission of each arrival, by the arrival's name."""
    with desk.database.reading() as session:
        rows = {row.id: row for row in session.scalars(select(SubmissionRow))}
    return {arrival.name: rows[arrival.submission_id] for arrival in desk.arrivals()}


def note(**said: object) -> bytes:
    return json.dumps(said).encode()


def finish(desk: Desk) -> None:
    desk.classify()
    desk.inbox.settle()


def test_folders_are_tags(desk: Desk) -> None:
    desk.drop("study/spiral/1.png", draw_radiograph(1))
    desk.drop("2.png", draw_radiograph(2))
    desk.take()
    found = submissions(desk)
    assert found["study/spiral/1.png"].tags == ["study", "spiral"]
    assert found["2.png"].tags == []


def test_folders_of_dicom_are_no_tags_since_they_may_name_a_patient(desk: Desk) -> None:
    desk.drop("QUILLFEATHER/1.dcm", dicom())
    desk.drop("QUILLFEATHER/1.dcm.json", note(tags=["wrist"]))
    desk.take()
    (row,) = submissions(desk).values()
    assert row.tags == ["wrist"]


@pytest.mark.parametrize("name", ["hand.png.json", "hand.json"])
@pytest.mark.parametrize("first", ["sidecar", "file"])
def test_a_sidecar_gives_tags_a_name_and_a_priority(desk: Desk, name: str, first: str) -> None:
    files = {
        name: note(tags=["left", "left", "child"], submission="Ward 7", priority=5),
        "hand.png": draw_radiograph(1),
    }
    for each in sorted(files, key=lambda each: (each == "hand.png") == (first == "sidecar")):
        desk.drop(each, files[each])
        desk.look(0.6 * SETTLE)  # the other comes before this one has settled
    desk.take()
    (row,) = submissions(desk).values()
    assert (row.tags, row.name, row.priority) == (["left", "child"], "Ward 7", 5)
    with desk.database.reading() as session:
        assert session.scalars(select(JobRow.priority)).all() == [5]
    finish(desk)
    assert desk.below(desk.settings.done) == ["hand.png", "hand.png.json"]
    assert desk.below(desk.settings.inbox) == []
    assert desk.in_processing() == []


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b"{", "is no JSON."),
        (b"[" * 60_000, "is no JSON."),
        (b" " * 70_000, "more than 64 KiB"),
        (b"[]", "is no JSON object with nothing but"),
        (note(tag=["x"]), "is no JSON object with nothing but"),
        (note(tags="left"), "Its tags are no list"),
        (note(tags=["x"] * 21), "Its tags are no list"),
        (note(tags=["x" * 65]), "Its tags are no list"),
        (note(tags=["a\nb"]), "Its tags are no list"),
        (note(submission=7), "Its submission is no name"),
        (note(priority=101), "from -100 to 100"),
        (note(priority=True), "from -100 to 100"),
        (note(priority=1.5), "from -100 to 100"),
    ],
)
def test_a_bad_sidecar_is_explained(tmp_path: Path, said: bytes, words: str) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(said)
    with pytest.raises(BadSidecar, match=words):
        read_sidecar(path)


def test_a_bad_sidecar_does_not_lose_its_file(desk: Desk) -> None:
    desk.drop("hand.png", draw_radiograph(1))
    desk.drop("hand.png.json", b"{tags: left}")
    desk.take()
    finish(desk)
    assert desk.below(desk.settings.done) == ["hand.png"]
    assert desk.below(desk.settings.failed) == ["hand.png.json", "hand.png.json.reason.txt"]
    reason = (desk.settings.failed / "hand.png.json.reason.txt").read_text()
    assert reason == "The sidecar is no JSON. Its file was taken without it.\n"


def test_a_sidecar_without_its_file_says_so(desk: Desk) -> None:
    desk.drop("hand.png.json", note(tags=["left"]))
    desk.look()
    assert desk.look(2 * SETTLE) == 0  # its file may still come
    desk.take()
    desk.inbox.settle()
    (arrival,) = desk.arrivals()
    assert arrival.error_words == "A sidecar NAME.json needs its file NAME beside it; there was none."


def test_a_crash_between_claim_and_record_keeps_the_sidecar(desk: Desk) -> None:
    desk.drop("hand.png", draw_radiograph(1))
    desk.drop("hand.png.json", note(tags=["left"]))
    for _ in range(3):
        desk.look(10 * SETTLE)
    assert desk.restart() == 1
    desk.inbox.record()
    (row,) = submissions(desk).values()
    assert row.tags == ["left"]


def test_an_archive_has_a_sidecar_too(desk: Desk) -> None:
    desk.drop("day/study.zip", zipped({"1.png": draw_radiograph(1)}))
    desk.drop("day/study.json", note(tags=["left"], submission="Ward 7", priority=9))
    desk.take()
    (row,) = submissions(desk).values()
    assert (row.tags, row.name, row.priority) == (["day", "left"], "Ward 7", 9)
    finish(desk)
    assert desk.below(desk.settings.done) == ["day/study.zip", "day/study.zip.SUMMARY.csv", "day/study.zip.json"]
    assert desk.in_processing() == []


def summary(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_a_finished_folder_is_answered_by_one_table_beside_it(desk: Desk) -> None:
    for number in range(3):
        desk.drop(f"study/{number}.png", draw_radiograph(number))
    desk.drop("study/deeper/=3.txt", b"words")
    desk.drop("alone.png", draw_radiograph(9))
    desk.take()
    desk.inbox.settle()
    assert not (desk.settings.done / "study.SUMMARY.csv").exists()  # three have not ended
    desk.classify()
    late = desk.drop("study/late.png", draw_radiograph(4))
    desk.inbox.settle()
    assert not (desk.settings.done / "study.SUMMARY.csv").exists()  # one still waits in the inbox
    assert late.exists()
    desk.take()
    finish(desk)
    rows = summary(desk.settings.done / "study.SUMMARY.csv")
    assert sorted((row["name"], row["status"]) for row in rows) == [
        *((f"study/{number}.png", "done") for number in range(3)),
        ("study/deeper/=3.txt", "rejected"),
        ("study/late.png", "done"),
    ]
    assert all(row["sha256"] for row in rows)
    desk.drop("study/later.png", draw_radiograph(5))
    desk.take()
    finish(desk)
    assert len(summary(desk.settings.done / "study.SUMMARY.csv")) == 6  # the same table, anew


def test_the_table_of_a_folder_has_the_binary_answer_and_the_flags_in_columns(desk: Desk) -> None:
    model = add_model(desk.database, "whether", task="fracture")
    desk.drop("study/1.png", draw_radiograph(1))
    desk.drop("study/text.txt", b"words")
    desk.take()
    taken = claimed(desk.database, model)
    binary = replace(some_answer("fractured", ("fractured", "not-fractured")), flags=("text", "doubtful"))
    store(desk.database, taken, [Outcome(job=job, answer=binary, engine="fake") for job in taken.jobs])
    (kind,) = (row.id for row in models_of(desk) if row.task == "fracture-type")
    taken = claimed(desk.database, kind)
    named = replace(some_answer(), flags=("text", "doubtful"))
    store(desk.database, taken, [Outcome(job=job, answer=named, engine="fake") for job in taken.jobs])
    desk.inbox.settle()

    rows = sorted(summary(desk.settings.done / "study.SUMMARY.csv"), key=lambda row: row["name"])

    assert [(row["fracture_label"], row["fracture_probability"], row["flags"]) for row in rows] == [
        ("fractured", "0.7", "text doubtful"),
        ("", "", ""),
    ]
    assert (rows[1]["status"], rows[1]["label"], rows[1]["model"]) == ("rejected", "", "")


def models_of(desk: Desk) -> list[ModelVersionRow]:
    with desk.database.reading() as session:
        return list(session.scalars(select(ModelVersionRow)))


def test_a_crash_before_the_answer_brings_it_at_the_next_start(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.drop("study/1.png", draw_radiograph(1))
    desk.take()
    desk.classify()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("worker.folders.write_summary", full)
        desk.inbox.settle()
    assert not (desk.settings.done / "study.SUMMARY.csv").exists()
    desk.restart()
    desk.inbox.settle()
    assert len(summary(desk.settings.done / "study.SUMMARY.csv")) == 1
