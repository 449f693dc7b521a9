"""Reviewed radiographs as a data set that `fracture-queue train --data` reads: pictures, MANIFEST.csv, README.txt.

Copies of one picture, the same file or another size or contrast of it, share a `cluster_id` and one split; copies that
readers labelled differently are left out. A plain image goes out as it came; a page of a file with several,
and whatever is no plain image (DICOM carries names), as an 8-bit grey PNG without anything else.
"""

from __future__ import annotations

import csv
import hashlib
import io
import shutil
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from core.dealing import deal
from core.errors import ConfigurationError, OriginalAltered, RejectedImage, StoreUnavailable
from core.images import decode
from core.near_duplicates import SIDE, Thumbnails, find_near_duplicates, join_pairs, thumbnail
from core.records.labels import Labelled
from core.store import Store
from core.words import counted

MANIFEST, README = "MANIFEST.csv", "README.txt"
COLUMNS = ("path", "class", "split", "cluster_id", "sha256", "radiograph", "readings")
#: Media types whose files go out as they came, and their endings.
_PLAIN = {"image/jpeg": "jpg", "image/png": "png", "image/bmp": "bmp", "image/tiff": "tif", "image/webp": "webp"}
UNREADABLE = "whose original cannot be read"
TORN = "whose copies were labelled differently"

_Write = Callable[[str, bytes], None]


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What went out."""

    images: int
    clusters: int
    splits: dict[str, int]
    classes: dict[str, int]
    left_out: dict[str, int]  # by why

    def words(self) -> str:
        """Say it in a few sentences."""
        splits = ", ".join(f"{count} {split}" for split, count in self.splits.items())
        classes, sources = counted(len(self.classes), "class", "classes"), counted(self.clusters, "source")
        words = f"{counted(self.images, 'radiograph')} of {classes}, {sources}: {splits}."
        if self.left_out:
            words += " Left out: " + "; ".join(f"{count} {why}" for why, count in self.left_out.items()) + "."
        if "valid" not in self.splits:
            words += " They are too few for a split to validate on."
        return words


def export_labelled(
    labelled: Sequence[Labelled],
    store: Store,
    output: Path,
    *,
    task: str,
    max_pixels: int,
    shares: dict[str, float],
    left_out: Counter[str] | None = None,
    advance: Callable[[], None] = lambda: None,
) -> Exported:
    """Write a data set.

    Args:
        labelled: From `labels_of_readers`.
        store: Where the originals are.
        output: A folder that does not exist or is empty; or, ending in `.zip`, a file.
        task: The question that the labels answer, for the README.
        max_pixels: Largest picture that is decoded.
        shares: Split to its share of each class; what is left is `train`.
        left_out: What has been left out already.
        advance: Called after each radiograph, for a progress bar.

    Raises:
        ConfigurationError: There is nothing to write, or it cannot be written there.
    """
    gone = Counter(left_out or {})
    thumbnails = np.empty((len(labelled), SIDE, SIDE), dtype=np.uint8)
    usable: list[Labelled] = []
    for each in labelled:
        try:
            pixels = decode(store.get(each.storage_key), max_pixels=max_pixels, frame=each.frame)
        except (OriginalAltered, RejectedImage, StoreUnavailable):
            gone[UNREADABLE] += 1
        else:
            thumbnails[len(usable)] = thumbnail(pixels)
            usable.append(each)
        advance()
    groups = _groups(usable, thumbnails[: len(usable)])
    labels: dict[int, set[str]] = {}
    for each, group in zip(usable, groups, strict=True):
        labels.setdefault(group, set()).add(each.label)
    kept = [(each, group) for each, group in zip(usable, groups, strict=True) if len(labels[group]) == 1]
    gone[TORN] += len(usable) - len(kept)
    told = {why: count for why, count in gone.items() if count}
    if not kept:
        words = "; ".join(f"{count} {why}" for why, count in told.items())
        raise ConfigurationError(f"There is nothing to export{f': left out were {words}' if words else ''}.")
    try:
        with _into(output) as write:
            return _write(kept, store, write, task=task, max_pixels=max_pixels, shares=shares, left_out=told)
    except OSError as error:
        raise ConfigurationError(f"{output} cannot be written: {error.strerror or error}.") from error


def _groups(labelled: Sequence[Labelled], thumbnails: Thumbnails) -> list[int]:
    pairs = [(pair.first, pair.second) for pair in find_near_duplicates(thumbnails)]
    first: dict[str, int] = {}
    pairs += [(first.setdefault(each.sha256, position), position) for position, each in enumerate(labelled)]
    return join_pairs(len(labelled), pairs)


def _write(
    kept: Sequence[tuple[Labelled, int]],
    store: Store,
    write: _Write,
    *,
    task: str,
    max_pixels: int,
    shares: dict[str, float],
    left_out: dict[str, int],
) -> Exported:
    everything, groups = [each for each, _ in kept], [group for _, group in kept]
    splits = deal([each.label for each in everything], [each.sha256 for each in everything], groups, shares)
    clusters: dict[int, str] = {}
    for each, group in kept:
        clusters[group] = min(clusters.get(group, each.sha256), each.sha256)
    table = io.StringIO(newline="")
    rows = csv.writer(table)
    rows.writerow(COLUMNS)
    for (each, group), split in zip(kept, splits, strict=True):
        name, data = _file(each, store.get(each.storage_key), max_pixels)
        write(name, data)
        digest = hashlib.sha256(data).hexdigest()
        rows.writerow([name, each.label, split, clusters[group], digest, each.id, each.readings])
    exported = Exported(
        images=len(everything),
        clusters=len(clusters),
        splits={split: count for split in ("train", "valid", "test") if (count := splits.count(split))},
        classes=dict(sorted(Counter(each.label for each in everything).items())),
        left_out=left_out,
    )
    write(MANIFEST, table.getvalue().encode())
    write(README, _readme(exported, task).encode())
    return exported


def _file(each: Labelled, data: bytes, max_pixels: int) -> tuple[str, bytes]:
    """Return a path that says nothing of a patient, and the content."""
    if each.frame == 0 and each.media_type in _PLAIN:
        return f"images/{each.sha256}.{_PLAIN[each.media_type]}", data
    stream = io.BytesIO()
    Image.fromarray(decode(data, max_pixels=max_pixels, frame=each.frame)).save(stream, format="PNG")
    return f"images/{each.sha256}-{each.frame}.png", stream.getvalue()


def _readme(exported: Exported, task: str) -> str:
    classes = "\n".join(f"  {label}: {count}" for label, count in exported.classes.items())
    return f"""Radiographs labelled by the readers of a Fracture Queue. Research and education only, never diagnosis.

Question: {task}
{exported.words()}

Images of each class:
{classes}

The first reading that stands gives the label; where a second reading says otherwise or is unsure, the radiograph
is left out. Copies of one picture share a cluster_id and lie in one split. Readers are no ground truth: nobody
compared these labels with a diagnosis. Who reviewed chose by doubt, so these are no random sample.
What may be done with the pictures is for those to say whose pictures they are.

    fracture-queue train RECIPE --data THIS_FOLDER
"""


@contextmanager
def _into(output: Path) -> Iterator[_Write]:
    """Give what writes a file by its path; all of it appears at once, at the end, or nothing does."""
    output.parent.mkdir(parents=True, exist_ok=True)
    if output.suffix.lower() != ".zip" and output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ConfigurationError(f"{output} exists and is no empty folder; name another.")
    aside = Path(tempfile.mkdtemp(prefix=f".{output.name}-", dir=output.parent))
    try:
        if output.suffix.lower() == ".zip":
            made = aside / output.name
            with zipfile.ZipFile(made, "w") as archive:  # pictures are compressed already

                def add(name: str, data: bytes) -> None:
                    archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data)

                yield add
        else:
            made = aside / "data"

            def put(name: str, data: bytes) -> None:
                target = made / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)

            yield put
        made.replace(output)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
