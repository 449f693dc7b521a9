"""How labelled images lie on disk: a manifest, folders of splits, or one folder per class."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from core.bundle import sha256_of
from core.errors import ConfigurationError
from core.labels import normalise_label
from training.sample import Sample

MANIFEST = "MANIFEST.csv"
LAYOUTS = ("auto", "manifest", "folders", "classes")
#: Manifest rows of this split are never used, for training nor for a figure.
EXCLUDED = "excluded"
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})
#: The split of a sample that is still to be dealt out.
UNDEALT = ""
_READ_COLUMNS = frozenset({"path", "class", "split", "cluster_id", "sha256", None})
_SPLIT_NAMES = {"train": "train", "training": "train", "valid": "valid", "val": "valid", "validation": "valid"} | {
    "test": "test",
    "testing": "test",
}


def read_samples(source: Path, labels: tuple[str, ...], *, layout: str, split_column: str) -> list[Sample]:
    """Read which image has which class and split; every file is hashed, none is decoded.

    Args:
        source: A folder, or a manifest file.
        labels: The labels of the task; other class names are an error.
        layout: One of LAYOUTS; `auto` takes the first of the others that is there.
        split_column: The manifest's column that holds the split.

    Raises:
        ConfigurationError: A file is missing or differs from its manifest, or a class, split or column is unknown.
    """
    if source.is_file() and source.suffix.lower() == ".csv" and layout in ("auto", "manifest"):
        return list(_from_manifest(source, labels, split_column))
    if not source.is_dir():
        raise ConfigurationError(f"There is no data folder {source}; give the data set's folder or manifest as --data.")
    if layout == "manifest" or (layout == "auto" and (source / MANIFEST).is_file()):
        return list(_from_manifest(source / MANIFEST, labels, split_column))
    if split_column != "split":
        raise ConfigurationError(f"A split column {split_column!r} needs a manifest; {source} is read as folders.")
    splits = [folder for folder in _folders(source) if folder.name.lower() in _SPLIT_NAMES]
    if layout == "folders" or (layout == "auto" and splits):
        return [
            sample for folder in splits for sample in _from_classes(folder, labels, _SPLIT_NAMES[folder.name.lower()])
        ]
    return list(_from_classes(source, labels, UNDEALT))


def _from_manifest(manifest: Path, labels: tuple[str, ...], split_column: str) -> Iterator[Sample]:
    try:
        with manifest.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            columns, rows = set(reader.fieldnames or ()), list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigurationError(f"The manifest {manifest} cannot be read as CSV in UTF-8: {error}.") from error
    missing = {"path", "class", split_column} - columns
    if missing:
        raise ConfigurationError(f"The manifest {manifest} has no column {', '.join(sorted(missing))}.")
    for row in rows:
        split = (row[split_column] or "").strip().lower()
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


def _from_classes(folder: Path, labels: tuple[str, ...], split: str) -> Iterator[Sample]:
    for class_folder in _folders(folder):
        label = normalise_label(class_folder.name, labels)
        for path in sorted(path for path in class_folder.rglob("*") if path.suffix.lower() in SUFFIXES):
            digest = _digest(path)
            yield Sample(path, label, split, digest, digest)


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _digest(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as error:
        raise ConfigurationError(f"The image {path} cannot be read: {error.strerror}.") from error
