"""Reading data sets: layouts, splits, leakage, and the hash that identifies the data."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.errors import ConfigurationError
from training.data import Dataset, data_hash, read_dataset
from training.labels import TASK_LABELS
from training.pictures import load_pictures

LABELS = TASK_LABELS["fracture-type"]


def draw(path: Path, level: int) -> Path:
    """Write a small grey picture; another level is another file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((6, 4), level, dtype=np.uint8)).save(path)
    return path


def write_manifest(folder: Path, rows: Sequence[dict[str, str]]) -> None:
    columns = list(dict.fromkeys(column for row in rows for column in row))
    with (folder / "MANIFEST.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=columns)
        writer.writeheader()
        writer.writerows(rows)


def row(path: str, split: str, cluster: str, name: str = "Spiral Fracture") -> dict[str, str]:
    return {"path": path, "class": name, "split": split, "cluster_id": cluster}


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for number in range(4):
        draw(tmp_path / f"{number}.png", number * 40)
    return tmp_path


def test_a_manifest_gives_class_split_and_cluster_and_skips_what_is_excluded(pictures: Path) -> None:
    write_manifest(
        pictures,
        [
            row("0.png", "train", "a"),
            row("1.png", "valid", "b", "Hairline Fracture"),
            row("2.png", "test", "c"),
            row("3.png", "excluded", "d", "a class that is unknown"),
        ],
    )
    dataset = read_dataset(pictures, LABELS)
    assert dataset.counts() == {"train": 1, "valid": 1, "test": 1}
    (valid,) = dataset.split("valid")
    assert (valid.label, valid.cluster, valid.path.name) == ("hairline", "b", "1.png")


def test_a_manifest_wins_over_folders(pictures: Path) -> None:
    draw(pictures / "train" / "spiral" / "a.png", 9)
    write_manifest(pictures, [row("0.png", "train", "a"), row("1.png", "valid", "b")])
    assert read_dataset(pictures, LABELS).counts() == {"train": 1, "valid": 1}


def test_folders_are_read_with_the_usual_names_of_splits(tmp_path: Path) -> None:
    draw(tmp_path / "train" / "Spiral Fracture" / "a.png", 1)
    draw(tmp_path / "val" / "Hairline_Fracture" / "b.PNG", 2)
    draw(tmp_path / "Test" / "oblique" / "deeper" / "c.png", 3)
    (tmp_path / "train" / "Spiral Fracture" / "notes.txt").write_text("no picture")
    dataset = read_dataset(tmp_path, LABELS)
    assert [(sample.split, sample.label) for sample in dataset.samples] == [
        ("test", "oblique"),
        ("train", "spiral"),
        ("valid", "hairline"),
    ]


def test_one_source_in_two_splits_is_refused(pictures: Path) -> None:
    write_manifest(pictures, [row("0.png", "train", "same"), row("1.png", "test", "same")])
    with pytest.raises(ConfigurationError, match=r"share one source: .*0\.png \(train\) and .*1\.png \(test\)"):
        read_dataset(pictures, LABELS)


def test_one_file_in_two_splits_is_refused_whatever_it_is_called(tmp_path: Path) -> None:
    draw(tmp_path / "train" / "spiral" / "a.png", 7)
    draw(tmp_path / "test" / "spiral" / "b.png", 7)
    with pytest.raises(ConfigurationError, match="share the same file"):
        read_dataset(tmp_path, LABELS)


def test_copies_within_one_split_are_accepted(tmp_path: Path) -> None:
    draw(tmp_path / "train" / "spiral" / "a.png", 7)
    draw(tmp_path / "train" / "spiral" / "b.png", 7)
    assert read_dataset(tmp_path, LABELS).counts() == {"train": 2}


def test_many_leaks_are_counted_not_all_listed(tmp_path: Path) -> None:
    for number in range(5):
        draw(tmp_path / "train" / "spiral" / f"{number}.png", number)
        draw(tmp_path / "valid" / "spiral" / f"{number}.png", number)
    with pytest.raises(ConfigurationError, match="and 2 more"):
        read_dataset(tmp_path, LABELS)


def test_the_hash_depends_on_content_and_class_but_not_on_names_or_order(tmp_path: Path) -> None:
    for place, names in (("one", "ab"), ("two", "yx")):
        draw(tmp_path / place / "train" / "spiral" / f"{names[0]}.png", 1)
        draw(tmp_path / place / "train" / "oblique" / f"{names[1]}.png", 2)
    draw(tmp_path / "three" / "train" / "oblique" / "a.png", 1)
    draw(tmp_path / "three" / "train" / "spiral" / "b.png", 2)
    one, two, three = (read_dataset(tmp_path / place, LABELS) for place in ("one", "two", "three"))
    assert one.hashes() == two.hashes()
    assert one.hashes()["all"] != three.hashes()["all"]
    assert data_hash(reversed(one.samples)) == data_hash(one.samples)


def test_the_hash_is_the_documented_one(tmp_path: Path) -> None:
    path = draw(tmp_path / "train" / "spiral" / "a.png", 1)
    line = f"{hashlib.sha256(path.read_bytes()).hexdigest()} spiral\n"
    assert read_dataset(tmp_path, LABELS).hashes()["train"] == hashlib.sha256(line.encode()).hexdigest()


def test_a_missing_folder_an_empty_folder_and_a_missing_split_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no data folder .*nowhere"):
        read_dataset(tmp_path / "nowhere", LABELS)
    with pytest.raises(ConfigurationError, match="holds no data set"):
        read_dataset(tmp_path, LABELS)
    with pytest.raises(ConfigurationError, match="no split 'test'; they have none"):
        Dataset(tmp_path, ()).split("test")


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{"path": "0.png", "class": "Spiral Fracture"}], "no column split"),
        ([row("0.png", "holdout", "a")], "split 'holdout'"),
        ([row("9.png", "train", "a")], r"9\.png cannot be read"),
        ([row("0.png", "train", "a") | {"sha256": "0" * 64}], "differs from its sha256"),
        ([row("0.png", "train", "a", "Cat")], "class 'Cat'"),
    ],
)
def test_a_wrong_manifest_is_refused_with_a_sentence(pictures: Path, rows: list[dict[str, str]], words: str) -> None:
    write_manifest(pictures, rows)
    with pytest.raises(ConfigurationError, match=words):
        read_dataset(pictures, LABELS)


def test_a_manifest_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "MANIFEST.csv").write_bytes(b"\xff\xfe\x00 not text")
    with pytest.raises(ConfigurationError, match="cannot be read as CSV"):
        read_dataset(tmp_path, LABELS)


def test_pictures_pass_through_the_geometry_of_serving(tmp_path: Path) -> None:
    draw(tmp_path / "train" / "spiral" / "a.png", 200)
    samples = read_dataset(tmp_path, LABELS).samples
    loaded = load_pictures(samples, LABELS, side=12, channels=1, max_pixels=100)
    assert loaded.images.shape == (1, 12, 12, 1)
    assert loaded.images[0, :, :2].max() == 0  # a tall picture is padded at its sides
    assert loaded.images[0, :, 2:10].min() == 200
    assert loaded.targets.tolist() == [LABELS.index("spiral")]


def test_a_damaged_picture_stops_the_work_and_is_named(tmp_path: Path) -> None:
    path = tmp_path / "train" / "spiral" / "broken.png"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no picture at all")
    samples = read_dataset(tmp_path, LABELS).samples
    with pytest.raises(ConfigurationError, match=r"broken\.png cannot be used"):
        load_pictures(samples, LABELS, side=12, channels=1, max_pixels=100)
