"""File names through the inbox: nothing lost, nothing twice, nothing anywhere but where it belongs."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.database import Database
from core.settings import Settings
from tests.conftest import copy_tables
from tests.fakes import saved
from tests.fuzz.names import clashing, odd_name
from tests.fuzz.seeds import SEED, numbers
from tests.unit.desk import SETTLE, Clock, Desk
from worker.settling import is_ignored

_PICTURE = saved(Image.new("L", (8, 8)), "PNG")
_ROUND = 50


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    return copy_tables(tmp_path / "test.db")


@pytest.fixture
def desk(settings: Settings, database: Database, model_id: int, monkeypatch: pytest.MonkeyPatch) -> Desk:
    clock = Clock()
    clock.stand_in(monkeypatch)
    return Desk(settings.with_changes(settle_seconds=SETTLE), database, clock)


def relative_name(number: int) -> Path:
    """Return the path of one file below the inbox; some share a name with others, or nearly."""
    rng, own = np.random.default_rng([SEED, 1, number]), np.random.default_rng([SEED, 2, number])
    twin = np.random.default_rng([SEED, 2, max(0, number - int(rng.integers(1, 20)))])
    name = clashing(rng, odd_name(twin)) if rng.integers(4) == 0 else odd_name(own)
    folders = [odd_name(rng) for _ in range(rng.integers(3))] if rng.integers(4) == 0 else []
    return Path(*map(os.fsdecode, (*folders, name)))


def content(number: int) -> bytes:
    """Return a sound picture, or now and then none; no two are the same."""
    own = number.to_bytes(8, "big")
    return own if number % 7 == 0 else _PICTURE + own


def digests(folder: Path) -> Counter[str]:
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".SUMMARY.csv")]
    return Counter(hashlib.sha256(path.read_bytes()).hexdigest() for path in files)


def put_through(desk: Desk, tmp_path: Path, first: int, count: int) -> None:
    dropped: dict[str, tuple[int, Path]] = {}
    ignored: set[str] = set()
    before = set(tmp_path.iterdir())
    chosen = numbers(first, count)
    for start in range(0, len(chosen), _ROUND):
        for number in chosen[start : start + _ROUND]:
            relative, data = relative_name(number), content(number)
            target = desk.settings.inbox / relative
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                if target.exists():
                    continue
                target.write_bytes(data)
            except (FileExistsError, NotADirectoryError):  # a file of the folder's name is there
                continue
            digest = hashlib.sha256(data).hexdigest()
            dropped[digest] = (number, relative)
            if is_ignored(relative):
                ignored.add(digest)
        desk.take()
        desk.classify(None if start // _ROUND % 5 else ("unreadable", "A picture\nwith words of several lines."))
        desk.inbox.settle()
        assert desk.restart() == 0

    settings = desk.settings
    done, failed, left = digests(settings.done), digests(settings.failed), digests(settings.inbox)
    assert len(dropped) > 0.8 * len(chosen)
    for digest, (number, relative) in dropped.items():
        where = (done[digest], failed[digest], left[digest])
        message = f"number {number} of seed {SEED}: {relative!r} is in (done, failed, inbox) {where}"
        assert sum(where) == 1, message
        assert left[digest] == (digest in ignored), message
        assert failed[digest] or number % 7 or digest in ignored, message
    reasons = [
        path for path in settings.failed.rglob("*.reason.txt") if path.is_file() and b"\x89PNG" not in path.read_bytes()
    ]
    assert len(reasons) >= sum(failed[digest] for digest in dropped)
    assert sum(done.values()) + sum(left.values()) == sum(1 for digest in dropped if not failed[digest])
    assert desk.in_processing() == []
    # Originals are stored under their sha256, whatever the name was.
    store = {path.name for path in (settings.home / "store").rglob("*") if path.is_file()}
    pictures = {digest for digest, (number, _) in dropped.items() if number % 7 and digest not in ignored}
    assert store == pictures
    assert set(tmp_path.iterdir()) == before
    assert {path.name for path in settings.home.iterdir()} <= {
        *("inbox", "processing", "done", "failed", "store", "logs", "pseudonym_key"),
    }
    for arrival in desk.arrivals():
        assert arrival.name == arrival.name.encode().decode()
        assert not set(arrival.name) & set(map(chr, range(32)))


def test_files_of_every_name_find_their_way(desk: Desk, tmp_path: Path) -> None:
    put_through(desk, tmp_path, 0, 250)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_many_files_of_every_name_find_their_way(desk: Desk, tmp_path: Path) -> None:
    put_through(desk, tmp_path, 1000, 5000)
