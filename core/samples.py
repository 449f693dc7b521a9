"""The test images that a model's card tells of, where their data set is at hand.

A card names its data by a hash of contents and labels; the manifest whose test split has that hash is the one. So truth
is never taken from another data set, or from another split of it.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from core.errors import ConfigurationError, StoreUnavailable
from core.labels import normalise_label

MANIFEST = "MANIFEST.csv"
_TEST = ("test", "testing")


@dataclass(frozen=True)
class Sample:
    """One labelled image."""

    path: Path
    label: str  # the manifest's, as the card's labels write it
    sha256: str

    def read(self) -> bytes:
        """Return its content.

        Raises:
            StoreUnavailable: It is gone, or no longer what the manifest says.
        """
        try:
            data = self.path.read_bytes()
        except OSError as error:
            raise StoreUnavailable(f"The sample {self.path.name} cannot be read: {error.strerror}.") from error
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise StoreUnavailable(f"The sample {self.path.name} differs from its sha256 in {MANIFEST}.")
        return data


def test_samples(folder: Path, card: Mapping[str, Any]) -> tuple[Sample, ...]:
    """Return the test split of a card's data; empty where it is not below the folder.

    Args:
        folder: Holds a manifest, or folders that do.
        card: A model card as JSON.
    """
    data = card.get("data") or {}
    wanted = (data.get("sha256") or {}).get("test")
    labels = tuple(str(label) for label in card.get("labels", ()))
    for manifest in _manifests(folder) if wanted else ():
        try:
            changed = manifest.stat().st_mtime_ns
        except OSError:
            continue
        samples = _test_split(manifest, changed, labels)
        if samples and data_hash(samples) == wanted:
            return samples
    return ()


def data_hash(samples: tuple[Sample, ...]) -> str:
    """Return what `training.data.data_hash` does: the sha256 of the sorted lines `sha256 label`."""
    lines = sorted(f"{sample.sha256} {sample.label}\n" for sample in samples)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _manifests(folder: Path) -> Iterator[Path]:
    try:
        yield from (path for path in (folder / MANIFEST, *sorted(folder.glob(f"*/{MANIFEST}"))) if path.is_file())
    except OSError:
        return


@lru_cache(maxsize=16)
def _test_split(manifest: Path, _changed: int, labels: tuple[str, ...]) -> tuple[Sample, ...]:
    """Read a manifest's test split; empty where it is of other classes, or says nothing of contents."""
    try:
        with manifest.open(newline="", encoding="utf-8-sig") as stream:
            rows = [row for row in csv.DictReader(stream) if (row.get("split") or "").strip().lower() in _TEST]
        return tuple(_sample(manifest, row, labels) for row in rows)
    except (OSError, ValueError, KeyError, csv.Error, ConfigurationError):
        return ()


def _sample(manifest: Path, row: dict[str, str], labels: tuple[str, ...]) -> Sample:
    path = (manifest.parent / row["path"]).resolve()
    if not path.is_relative_to(manifest.parent.resolve()):
        raise ValueError(f"{path} lies outside of the data set")
    return Sample(path, normalise_label(row["class"] or "", labels), row["sha256"].lower())
