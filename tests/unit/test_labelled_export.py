"""What readers said as data to train on: which labels count, what stays together, and that training reads it."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from cli.commands.export import export
from cli.main import main
from core.database import Database
from core.records.labels import DISAGREED, UNBROKEN, UNSURE, WITHDRAWN, labels_of_readers
from core.records.reviews import Word, add_review, withdraw_last
from core.storage import FolderStore, key_of
from core.tables import FIRST, SECOND, Role
from core.tables import ReviewKind as Kind
from tests.fakes import take_in
from tests.unit.web_fixtures import OURS, Site
from training.data import read_dataset
from training.labels import TASK_LABELS

KINDS = TASK_LABELS["fracture-type"]


def says(database: Database, number: int, label: str | None, reading: int = FIRST) -> None:
    word = Word(kind=Kind.UNSURE if label is None else Kind.LABELLED, label=label)
    with database.transaction() as session:
        reader = "anna" if reading == FIRST else "ben"
        add_review(session, number, word, reading=reading, reviewer=reader, seen=0, actor=f"user:{reader}")


def labels(database: Database, task: str) -> tuple[dict[int, tuple[str, int]], dict[str, int]]:
    left_out: Counter[str] = Counter()
    with database.reading() as session:
        found = {each.id: (each.label, each.readings) for each in labels_of_readers(session, task, left_out)}
    return found, dict(left_out)


def test_the_first_reading_that_stands_counts_and_a_second_can_only_take_it_away(
    database: Database, model_id: int
) -> None:
    take_in(database, *range(9))
    for number, label in enumerate(("spiral", "spiral", "spiral", None, "spiral", "not-fractured", "oblique"), start=1):
        says(database, number, label)
    says(database, 2, "spiral", SECOND)
    says(database, 3, "oblique", SECOND)
    says(database, 5, None, SECOND)
    says(database, 7, "spiral", SECOND)
    with database.transaction() as session:
        withdraw_last(session, "ben", actor="user:ben")
    says(database, 8, "spiral")
    with database.transaction() as session:
        withdraw_last(session, "anna", actor="user:anna")

    kinds, left_out = labels(database, "fracture-type")
    assert kinds == {1: ("spiral", 1), 2: ("spiral", 2), 7: ("oblique", 1)}
    assert left_out == {UNSURE: 2, WITHDRAWN: 1, DISAGREED: 1, UNBROKEN: 1}
    fractured, left_out = labels(database, "fracture")
    assert {number: label for number, (label, _) in fractured.items()} == {
        **dict.fromkeys((1, 2, 3, 7), "fractured"),
        6: "not-fractured",
    }
    assert left_out == {UNSURE: 2, WITHDRAWN: 1}


# The files


def limb(seed: int, form: str = "PNG", scale: float = 1.0, **options: object) -> bytes:
    """A picture that is like no other, unless it has the same seed."""
    patches = np.random.default_rng(seed).integers(0, 256, (12, 12)).astype(np.uint8)
    side = round(240 * scale)
    picture = Image.fromarray(patches).resize((side, side), Image.Resampling.BICUBIC)
    stream = io.BytesIO()
    picture.save(stream, form, **options)
    return stream.getvalue()


@pytest.fixture
def read(site: Site, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Take radiographs in and say what they show."""
    monkeypatch.setenv("FRACTURE_HOME", str(site.settings.home))

    def take(*pictures: bytes, label: str = "spiral") -> None:
        answer = site.upload(*((f"{number}.png", data) for number, data in enumerate(pictures)))
        assert answer.status_code == 202, answer.text
        for file in answer.json["files"]:
            for number in file["radiographs"]:
                says(site.database, number, label)

    return take


def run(*arguments: object) -> Result:
    return CliRunner().invoke(export, [str(each) for each in arguments], catch_exceptions=False)


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "MANIFEST.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_training_reads_what_was_exported(read: Callable[..., None], tmp_path: Path) -> None:
    read(*(limb(seed) for seed in range(6)))
    read(*(limb(seed, "JPEG") for seed in range(10, 16)), label="oblique")

    result = run(tmp_path / "reviewed")

    assert result.stdout == "12 radiographs of 2 classes, 12 sources: 10 train, 2 valid.\n"
    dataset = read_dataset(tmp_path / "reviewed", KINDS)
    assert dataset.counts() == {"train": 10, "valid": 2}
    assert Counter(sample.label for sample in dataset.samples) == {"spiral": 6, "oblique": 6}
    for row in rows(tmp_path / "reviewed"):
        data = (tmp_path / "reviewed" / row["path"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == row["sha256"]
        assert row["readings"] == "1"
    readme = (tmp_path / "reviewed" / "README.txt").read_text()
    assert "spiral: 6" in readme
    assert "never diagnosis" in readme


def test_copies_of_one_picture_stay_together(read: Callable[..., None], tmp_path: Path) -> None:
    for seed in range(5):  # a copy has another size and other bytes
        read(limb(seed), limb(seed, "JPEG", scale=0.7, quality=80))
    run(tmp_path / "reviewed", "--valid-share", "0.4")
    found = rows(tmp_path / "reviewed")
    splits: dict[str, list[str]] = {}
    for row in found:
        splits.setdefault(row["cluster_id"], []).append(row["split"])
    assert len(splits) == 5
    assert all(len(each) == 2 and len(set(each)) == 1 for each in splits.values())
    assert Counter(row["split"] for row in found) == {"train": 6, "valid": 4}


def test_pages_of_one_file_stay_together_as_pictures_of_their_own(read: Callable[..., None], tmp_path: Path) -> None:
    pages = [Image.open(io.BytesIO(limb(seed))) for seed in (1, 2)]
    stream = io.BytesIO()
    pages[0].save(stream, "TIFF", save_all=True, append_images=pages[1:])
    read(stream.getvalue())
    run(tmp_path / "reviewed")
    first, second = rows(tmp_path / "reviewed")
    assert first["cluster_id"] == second["cluster_id"]
    assert (Path(first["path"]).suffix, Path(second["path"]).suffix) == (".tif", ".png")
    with Image.open(tmp_path / "reviewed" / second["path"]) as page:
        assert np.array_equal(np.asarray(page), np.asarray(pages[1]))


def test_what_is_left_out_is_counted_in_words(site: Site, read: Callable[..., None], tmp_path: Path) -> None:
    read(limb(1), limb(2))
    read(limb(3), label="spiral")
    read(limb(3, scale=0.6), label="oblique")
    read(limb(4), label="not-fractured")
    key = key_of(hashlib.sha256(limb(2)).hexdigest())
    FolderStore.at(site.settings.store_url).path(key).unlink()

    result = run(tmp_path / "reviewed", "--json")

    document = json.loads(result.stdout)
    assert (document["images"], document["classes"]) == (1, {"spiral": 1})
    assert document["left_out"] == {
        UNBROKEN: 1,
        "whose original cannot be read": 1,
        "whose copies were labelled differently": 2,
    }
    readme = (tmp_path / "reviewed" / "README.txt").read_text()
    assert "Left out: 1 that are not fractured, and so of no kind; 1 whose original cannot be read; 2 whose" in readme
    assert "too few for a split to validate on" in readme


@pytest.mark.parametrize("there", ["a file", "a full folder"])
def test_what_is_there_is_not_overwritten(
    read: Callable[..., None], tmp_path: Path, there: str, capsys: pytest.CaptureFixture[str]
) -> None:
    read(limb(1))
    output = tmp_path / "reviewed"
    if there == "a file":
        output.write_text("mine")
    else:
        output.mkdir()
        (output / "mine").touch()
    with pytest.raises(SystemExit) as ended:
        main(["export", str(output)])
    assert ended.value.code == 2
    assert "exists and is no empty folder" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


def test_nothing_reviewed_is_said_and_leaves_nothing(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FRACTURE_HOME", str(site.settings.home))
    with pytest.raises(SystemExit) as ended:
        main(["export", str(tmp_path / "reviewed")])
    assert ended.value.code == 2
    assert "There is nothing to export." in capsys.readouterr().err
    assert not (tmp_path / "reviewed").exists()


def test_an_admin_downloads_it_and_nobody_else(site: Site, read: Callable[..., None]) -> None:
    assert site.client.get("/review/labels.zip").status_code == 404
    read(*(limb(seed) for seed in range(3)))
    assert "/review/labels.zip?task=fracture-type" in site.client.get("/review/figures").text
    answer = site.client.get("/review/labels.zip?task=fracture")
    assert answer.mimetype == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.data)) as archive:
        table = list(csv.DictReader(io.StringIO(archive.read("MANIFEST.csv").decode())))
        assert {row["class"] for row in table} == {"fractured"}
        assert {row["path"] for row in table} == set(archive.namelist()) - {"MANIFEST.csv", "README.txt"}
    assert site.client.get("/review/labels.zip?task=weather").status_code == 400
    site.add_user("ada", Role.ADMIN)
    site.add_user("ben", Role.REVIEWER)
    site.sign_in("ben")
    assert "/review/labels.zip" not in site.client.get("/review/figures").text
    assert site.client.get("/review/labels.zip", headers=OURS).status_code == 403
