"""The files that belong to a backup beside the database: originals, bundles, keys."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from core.bundle import CARD_FILE, sha256_of
from core.database import Database
from core.errors import OriginalAltered
from core.records.upkeep import Original, originals
from core.storage import digest_of
from core.store import Store

#: Rows looked at together, and files copied at once: a disk syncs several nearly as fast as one.
_PAGE, _AT_ONCE = 500, 8
#: What later work needs and nobody could make again: the key of sessions, the key of pseudonyms.
_KEYS = "*_key"


@dataclass
class Copied:
    """What became of the originals that a database names."""

    files: int = 0  # that are at the target now
    bytes: int = 0
    new: int = 0  # of those, copied just now
    missing: list[Original] = field(default_factory=list)  # not in the source, or altered there


def copy_originals(database: Database, source: Store, target: Store) -> Copied:
    """Copy every original that a database names and the target has not; each is compared with its sha256.

    Raises:
        StoreUnavailable: The target is full, or one of the two cannot be used.
    """
    copied = Copied()
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="backup") as side_by_side:
        for page in _pages(database):
            found = side_by_side.map(lambda original: _copy_original(original.storage_key, source, target), page)
            for original, outcome in zip(page, found, strict=True):
                if outcome is None:
                    copied.missing.append(original)
                    continue
                size, is_new = outcome
                copied.files, copied.bytes, copied.new = copied.files + 1, copied.bytes + size, copied.new + is_new
    return copied


def copy_bundles(source: Path, target: Path) -> tuple[list[str], list[str]]:
    """Copy the model bundles that the target has not.

    Returns:
        NAME/VERSION of all that are at the target now, and of those that differ there and were left alone.

    Raises:
        OSError: One cannot be copied.
    """
    there, differing = [], []
    for card in sorted(source.glob(f"*/*/{CARD_FILE}")):
        name = f"{card.parent.parent.name}/{card.parent.name}"
        wanted = target / name
        if not wanted.exists():
            temporary = target / f".{secrets.token_hex(8)}"
            wanted.parent.mkdir(parents=True, exist_ok=True)
            try:
                shutil.copytree(card.parent, temporary)
                temporary.rename(wanted)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
        if (wanted / CARD_FILE).is_file() and sha256_of(wanted / CARD_FILE) == sha256_of(card):
            there.append(name)
        else:
            differing.append(name)
    return there, differing


def copy_keys(source: Path, target: Path) -> list[str]:
    """Copy an installation's keys, readable by this user alone; return their names.

    Raises:
        OSError: One cannot be copied.
    """
    names = []
    for path in sorted(source.glob(_KEYS)):
        if path.is_file():
            _write_private(target / path.name, path.read_bytes())
            names.append(path.name)
    return names


def _write_private(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _pages(database: Database) -> Iterator[Sequence[Original]]:
    after = 0
    while True:
        with database.reading() as session:
            page = originals(session, after=after, limit=_PAGE)
        yield page
        if len(page) < _PAGE:
            return
        after = page[-1].radiograph_id


def _copy_original(storage_key: str, source: Store, target: Store) -> tuple[int, bool] | None:
    """Return an original's size and whether it was copied just now; None when the source has lost or altered it."""
    there, here = target.size(storage_key), source.size(storage_key)
    if there is not None and here in (None, there):
        return there, False
    if here is None:
        return None
    try:
        data = source.get(storage_key)
    except OriginalAltered:
        return None
    target.restore(data, digest_of(storage_key))
    return len(data), True
