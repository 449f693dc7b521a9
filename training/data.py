"""Data sets: which radiograph has which class and belongs to which split.

Two layouts are read. A manifest (`MANIFEST.csv` in the folder, or any CSV file with the columns `path`, `class`,
`split` and perhaps `cluster_id` and `sha256`), or folders `train/ valid/ test/` with one folder per class in each.
A manifest wins over folders: bone-break's own Train and Test folders share radiographs, its manifest does not.
"""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from core.bundle import sha256_of
from core.errors import ConfigurationError
from training.labels import normalise_label
from training.leakage import refuse_leakage
from training.sample import SPLITS, Sample

MANIFEST = "MANIFEST.csv"
#: Manifest rows of this split are never used, for training nor for a figure.
EXCLUDED = "excluded"
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})
_READ_COLUMNS = frozenset({"path", "class", "split", "cluster_id", "sha256", None})
_SPLIT_NAMES = {"train": "train", "training": "train", "valid": "valid", "val": "valid", "validation": "valid"} | {
    "test": "test",
    "testing": "test",
}


@dataclass(frozen=True)
class Dataset:
    """The samples of all splits."""

    folder: Path
    samples: tuple[Sample, ...]

    def split(self, name: str) -> tuple[Sample, ...]:
        """Return one split's samples.

        Raises:
            ConfigurationError: The data set has no such split.
        """
        found = tuple(sample for sample in self.samples if sample.split == name)
        if not found:
            raise ConfigurationError(
                f"The data in {self.folder} have no split {name!r}; they have {', '.join(self.counts()) or 'none'}."
            )
        return found

    def counts(self) -> dict[str, int]:
        """Return the number of images of each split that is there."""
        counted = Counter(sample.split for sample in self.samples)
        return {name: counted[name] for name in SPLITS if counted[name]}

    def hashes(self) -> dict[str, str]:
        """Return `data_hash` of all samples and of each split."""
        parts = {name: data_hash(self.split(name)) for name in self.counts()}
        return {"all": data_hash(self.samples)} | parts


def data_hash(samples: Iterable[Sample]) -> str:
    """Identify labelled images by their content.

    Returns:
        The sha256 of the sorted lines `sha256 label`: the same for the same images with the same labels, wherever
        they lie and whatever they are called.
    """
    lines = sorted(f"{sample.sha256} {sample.label}\n" for sample in samples)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def read_dataset(source: Path, labels: tuple[str, ...]) -> Dataset:
    """Read a data set; every file is hashed, none is decoded.

    Args:
        source: A folder in one of the two layouts, or a manifest file.
        labels: The labels of the task; other class names are an error.

    Raises:
        ConfigurationError: The folder or a file is missing, a class or split is unknown, a file differs from its
            manifest, or the same image or source is in two splits.
    """
    if source.is_dir():
        manifest = source / MANIFEST
        samples = list(_from_manifest(manifest, labels) if manifest.is_file() else _from_folders(source, labels))
        folder = source
    elif source.is_file() and source.suffix.lower() == ".csv":
        samples, folder = list(_from_manifest(source, labels)), source.parent
    else:
        raise ConfigurationError(f"There is no data folder {source}; give the data set's folder or manifest as --data.")
    if not samples:
        raise ConfigurationError(
            f"The folder {source} holds no data set; expected {MANIFEST} or folders train/CLASS/ and valid/CLASS/."
        )
    refuse_leakage(samples)
    return Dataset(folder=folder.absolute(), samples=tuple(samples))


def _from_manifest(manifest: Path, labels: tuple[str, ...]) -> Iterator[Sample]:
    try:
        with manifest.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            columns, rows = set(reader.fieldnames or ()), list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigurationError(f"The manifest {manifest} cannot be read as CSV in UTF-8: {error}.") from error
    missing = {"path", "class", "split"} - columns
    if missing:
        raise ConfigurationError(f"The manifest {manifest} has no column {', '.join(sorted(missing))}.")
    for row in rows:
        split = (row["split"] or "").strip().lower()
        if split != EXCLUDED:
            yield _manifest_sample(manifest, row, split, labels)


def _manifest_sample(manifest: Path, row: dict[str, str], split: str, labels: tuple[str, ...]) -> Sample:
    if split not in _SPLIT_NAMES:
        raise ConfigurationError(f"{manifest} puts {row['path']} into the split {split!r}; use train, valid or test.")
    path = manifest.parent / (row["path"] or "")
    digest = _digest(path)
    if row.get("sha256") and row["sha256"].lower() != digest:
        raise ConfigurationError(f"{path} differs from its sha256 in {manifest.name}; fetch the data set again.")
    return Sample(
        path=path,
        label=normalise_label(row["class"] or "", labels),
        split=_SPLIT_NAMES[split],
        cluster=row.get("cluster_id") or digest,
        sha256=digest,
        facts={name: value or "" for name, value in row.items() if name not in _READ_COLUMNS},
    )


def _from_folders(folder: Path, labels: tuple[str, ...]) -> Iterator[Sample]:
    for split_folder in sorted(path for path in folder.iterdir() if path.name.lower() in _SPLIT_NAMES):
        for class_folder in sorted(path for path in split_folder.iterdir() if path.is_dir()):
            label = normalise_label(class_folder.name, labels)
            for path in sorted(path for path in class_folder.rglob("*") if path.suffix.lower() in SUFFIXES):
                digest = _digest(path)
                yield Sample(path, label, _SPLIT_NAMES[split_folder.name.lower()], digest, digest)


def _digest(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as error:
        raise ConfigurationError(f"The image {path} cannot be read: {error.strerror}.") from error
