"""Copies across splits: what is found, what is not taken for a copy, how it is reported, how shares are dealt out."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from core.errors import ConfigurationError
from core.near_duplicates import find_near_duplicates, join_pairs, thumbnail
from tests.unit.test_training_data import row, write_manifest
from training.data import DataChoices, Dataset, load_dataset, read_dataset
from training.labels import TASK_LABELS
from training.leakage import LEAKAGE_FILE, check_leakage, count_leaks, find_leaks
from training.progress import Silent

LABELS = TASK_LABELS["fracture-type"]


def limb(seed: int, *, width: int = 240, height: int = 320) -> Image.Image:
    """A picture with as much detail as a radiograph; another seed is another limb."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 255, (6, 5)).astype(np.uint8)
    fine = rng.uniform(0, 255, (48, 36)).astype(np.uint8)
    large, small = (
        np.asarray(Image.fromarray(each).resize((width, height), Image.Resampling.BICUBIC), dtype=np.float32)
        for each in (coarse, fine)
    )
    return Image.fromarray(np.clip(0.7 * large + 0.3 * small, 0, 255).astype(np.uint8))


def thumbnails(*pictures: Image.Image) -> NDArray[np.uint8]:
    return np.stack([thumbnail(np.asarray(picture)) for picture in pictures])


def keep(picture: Image.Image, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)
    return path


@pytest.mark.parametrize(
    "change",
    [
        lambda picture: picture.resize((180, 240)),
        lambda picture: picture.resize((320, 320)),
        lambda picture: picture.rotate(90, expand=True),
        lambda picture: picture.rotate(180),
        ImageOps.mirror,
        ImageOps.flip,
        lambda picture: ImageOps.mirror(picture.rotate(270, expand=True)).resize((200, 200)),
        lambda picture: picture.point([min(255, round(40 + 0.6 * level)) for level in range(256)]),
        lambda picture: picture.crop((3, 4, 237, 316)),
    ],
    ids=["smaller", "stretched", "a quarter", "half", "mirrored", "flipped", "all at once", "pale", "trimmed"],
)
def test_a_copy_is_found_however_it_was_changed(change: Callable[[Image.Image], Image.Image]) -> None:
    found = find_near_duplicates(thumbnails(limb(1), limb(2), change(limb(1)), limb(3)))
    assert [(pair.first, pair.second) for pair in found] == [(0, 2)]
    assert found[0].distance <= 12


def test_other_pictures_and_empty_ones_are_no_copies() -> None:
    black = Image.new("L", (240, 320))
    assert find_near_duplicates(thumbnails(*(limb(seed) for seed in range(12)), black, black)) == []
    assert find_near_duplicates(thumbnails(limb(1))) == []


def test_only_pairs_of_different_groups_are_looked_at() -> None:
    pictures = thumbnails(limb(1), limb(1).resize((100, 100)), limb(1).rotate(180))
    found = find_near_duplicates(pictures, [0, 0, 1])
    assert [(pair.first, pair.second) for pair in found] == [(0, 2), (1, 2)]


def test_pairs_join_into_groups() -> None:
    assert join_pairs(6, [(4, 5), (1, 3), (3, 5)]) == [0, 1, 2, 1, 1, 1]


@pytest.fixture
def leaky(tmp_path: Path) -> Path:
    """A manifest with one pair of each kind across splits."""
    for name, picture in {
        "a": limb(1),
        "a again": limb(1),
        "b": limb(2),
        "b turned": limb(2).rotate(90, expand=True),
        "c": limb(3),
        "d": limb(4),
        "e": limb(5),
    }.items():
        keep(picture, tmp_path / f"{name}.png")
    write_manifest(
        tmp_path,
        [
            row("a.png", "train", ""),
            row("a again.png", "test", ""),
            row("b.png", "train", "b"),
            row("b turned.png", "test", "another"),
            row("c.png", "valid", "patient 7"),
            row("d.png", "train", "patient 7"),
            row("e.png", "test", "e"),
        ],
    )
    return tmp_path


def test_every_kind_of_leak_is_found_once(leaky: Path) -> None:
    dataset = load_dataset(leaky, LABELS)
    leaks = find_leaks(dataset.samples, max_pixels=10**6, progress=Silent())
    assert [(leak.kind, leak.first.path.stem, leak.second.path.stem) for leak in leaks] == [
        ("exact", "a", "a again"),
        ("perceptual", "b", "b turned"),
        ("same source", "c", "d"),
    ]
    assert count_leaks(leaks) == {
        "exact": 1,
        "perceptual": 1,
        "same_source": 1,
        "test_images_with_copies": 2,
        "test_images_affected": 2,
    }


def test_leaks_are_refused_with_a_report(leaky: Path, tmp_path: Path) -> None:
    report = tmp_path / "runs" / LEAKAGE_FILE
    with pytest.raises(ConfigurationError, match=r"3 pairs lie in two splits .*--allow-leakage") as refusal:
        check_leakage(
            load_dataset(leaky, LABELS).samples, allowed=False, report=report, max_pixels=10**6, progress=Silent()
        )
    assert "share the same picture" in str(refusal.value)
    assert str(report) in str(refusal.value)
    with report.open() as stream:
        rows = list(csv.DictReader(stream))
    assert [(each["kind"], each["split_a"], each["split_b"]) for each in rows] == [
        ("exact", "train", "test"),
        ("perceptual", "train", "test"),
        ("same source", "valid", "train"),
    ]
    assert rows[1]["path_b"].endswith("b turned.png")
    assert int(rows[1]["distance"]) <= 12
    assert rows[0]["distance"] == ""


def test_leaks_that_are_allowed_are_counted_and_change_no_hash(leaky: Path, tmp_path: Path) -> None:
    choices = DataChoices(allow_leakage=True)
    before = read_dataset(leaky, LABELS, choices)
    leaks = check_leakage(
        before.samples, allowed=True, report=tmp_path / "never.csv", max_pixels=10**6, progress=Silent()
    )
    assert len(leaks) == 3
    after = replace(before, leakage=count_leaks(leaks))
    assert after.description()["leakage"]["perceptual"] == 1
    assert after.hashes() == before.hashes() == load_dataset(leaky, LABELS).hashes()
    assert not (tmp_path / "never.csv").exists()


def test_clean_data_say_nothing_of_leaks(tmp_path: Path) -> None:
    for number, split in enumerate(("train", "valid", "test")):
        keep(limb(number), tmp_path / split / "spiral" / "a.png")
    dataset = load_dataset(tmp_path, LABELS)
    leaks = check_leakage(
        dataset.samples, allowed=False, report=tmp_path / "never.csv", max_pixels=10**6, progress=Silent()
    )
    assert leaks == []
    assert set(replace(dataset, leakage=count_leaks(leaks)).description()) == {"counts", "sha256"}


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    """One folder per class, with sub-folders; each spiral is there four times, once turned."""
    for seed in range(10):
        keep(limb(seed), tmp_path / "data" / "Spiral Fracture" / f"{seed}.png")
        keep(limb(seed), tmp_path / "data" / "Spiral Fracture" / "Train" / f"{seed} again.png")
        keep(limb(seed).resize((200, 260)), tmp_path / "data" / "Spiral Fracture" / f"{seed} small.png")
        keep(limb(seed).rotate(90, expand=True), tmp_path / "data" / "Spiral Fracture" / "Test" / f"{seed} turned.png")
    for seed in range(10, 30):
        keep(limb(seed), tmp_path / "data" / "Hairline Fracture" / f"{seed}.png")
    return tmp_path / "data"


def splits(dataset: Dataset, label: str) -> dict[str, int]:
    of_class = [sample.split for sample in dataset.samples if sample.label == label]
    return {split: of_class.count(split) for split in sorted(set(of_class))}


def test_one_folder_per_class_is_dealt_out_by_class_with_copies_together(classes: Path) -> None:
    dataset = read_dataset(classes, LABELS)
    assert splits(dataset, "spiral") == {"train": 32, "valid": 8}
    assert splits(dataset, "hairline") == {"train": 16, "valid": 4}
    assert dataset.dealt == "Dealt out by hash: 20% of each class as valid, copies of one picture kept together."
    assert find_leaks(dataset.samples, max_pixels=10**6, progress=Silent()) == []
    assert len({sample.cluster for sample in dataset.samples}) == 30


def test_dealing_depends_on_the_pictures_alone(classes: Path, tmp_path: Path) -> None:
    before = {sample.sha256: sample.split for sample in read_dataset(classes, LABELS).samples}
    moved = tmp_path / "elsewhere"
    for position, path in enumerate(sorted(classes.rglob("*.png"), reverse=True)):
        label = path.relative_to(classes).parts[0]
        (moved / label).mkdir(parents=True, exist_ok=True)
        path.rename(moved / label / f"{position}.png")
    assert {sample.sha256: sample.split for sample in read_dataset(moved, LABELS).samples} == before


def test_shares_can_be_chosen_and_copies_be_torn_apart(classes: Path) -> None:
    choices = DataChoices(layout="classes", valid_share=0.25, test_share=0.25, allow_leakage=True)
    dataset = read_dataset(classes, LABELS, choices)
    assert splits(dataset, "spiral") == {"test": 10, "train": 20, "valid": 10}
    assert find_leaks(dataset.samples, max_pixels=10**6, progress=Silent())
    assert "one by one, copies or not" in dataset.description()["dealt"]


def test_a_manifests_other_column_gives_the_split_and_train_the_validation_share(tmp_path: Path) -> None:
    rows = []
    for seed in range(12):
        keep(limb(seed), tmp_path / f"{seed}.png")
        rows.append(
            row(f"{seed}.png", "excluded", f"source {seed // 2}") | {"official": "Test" if seed >= 10 else "Train"}
        )
    write_manifest(tmp_path, rows)
    choices = DataChoices(split_column="official", valid_share=0.4)
    dataset = read_dataset(tmp_path, LABELS, choices)
    assert dataset.counts() == {"train": 6, "valid": 4, "test": 2}
    again = DataChoices.from_document(choices.document() | {"of a later version": 1})
    assert again == choices


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        (DataChoices(valid_share=0.2), "has a validation split of its own"),
        (DataChoices(test_share=0.2), "a test share is for one folder per class"),
        (DataChoices(layout="folders", split_column="official"), "needs a manifest"),
        (DataChoices(split_column="official"), "no column official"),
        (DataChoices(layout="classes"), "class 'train' is none of"),
    ],
)
def test_choices_that_do_not_fit_the_data_are_refused(tmp_path: Path, choices: DataChoices, words: str) -> None:
    keep(limb(1), tmp_path / "train" / "spiral" / "a.png")
    keep(limb(2), tmp_path / "valid" / "spiral" / "b.png")
    write_manifest(tmp_path, [row("train/spiral/a.png", "train", ""), row("valid/spiral/b.png", "valid", "")])
    with pytest.raises(ConfigurationError, match=words):
        read_dataset(tmp_path, LABELS, choices)


def test_the_manifests_that_ship_beside_the_project_have_no_leak(data_folder: Path) -> None:
    dataset = read_dataset(data_folder / "bone-break", LABELS)
    assert find_leaks(dataset.samples, max_pixels=10**7, progress=Silent()) == []


def test_bone_breaks_own_folders_leak_and_no_pair_is_a_false_alarm(data_folder: Path) -> None:
    with (data_folder / "bone-break" / "MANIFEST.csv").open() as stream:
        known = {each["path"]: each["duplicate_id"] for each in csv.DictReader(stream)}
    dataset = load_dataset(data_folder / "bone-break", LABELS, DataChoices(split_column="official_split"))
    # Without what the manifest knows of sources: only what the pictures show.
    samples = [replace(sample, cluster=sample.sha256) for sample in dataset.samples]
    leaks = find_leaks(samples, max_pixels=10**7, progress=Silent())
    pairs = [
        [known[str(side.path.relative_to(dataset.folder))] for side in (leak.first, leak.second)] for leak in leaks
    ]
    assert all(one == other for one, other in pairs)
    assert count_leaks(leaks)["test_images_with_copies"] >= 25  # of 48 that have a copy in Train
