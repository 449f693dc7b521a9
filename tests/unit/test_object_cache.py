import hashlib
import multiprocessing
import os
from pathlib import Path

import pytest

from core.object_cache import ObjectCache
from core.settings import Settings

MIB = 2**20


def content(seed: int, size: int = 1000) -> tuple[str, bytes]:
    data = seed.to_bytes(4, "big") * (size // 4)
    return hashlib.sha256(data).hexdigest(), data


def bytes_below(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.name != "used")


@pytest.fixture
def cache(tmp_path: Path) -> ObjectCache:
    return ObjectCache(tmp_path / "cache", 10_000)


def test_what_was_kept_is_returned_and_what_was_not_is_none(cache: ObjectCache) -> None:
    cache.put(*content(1))
    assert cache.get(content(1)[0]) == content(1)[1]
    assert cache.get(content(2)[0]) is None
    assert list(cache.digests()) == [content(1)[0]]
    assert cache.folder.stat().st_mode & 0o077 == 0


def test_the_least_recently_used_go_first_and_the_bound_holds(cache: ObjectCache) -> None:
    for seed in range(10):
        cache.put(*content(seed))
        os.utime(cache.folder / content(seed)[0][:2] / content(seed)[0], (seed, seed))
    assert cache.get(content(0)[0]) is not None  # wanted again
    cache.put(*content(10))
    assert bytes_below(cache.folder) <= 10_000
    assert cache.get(content(0)[0]) is not None
    assert cache.get(content(1)[0]) is None
    assert cache.get(content(10)[0]) is not None


def test_what_is_too_large_for_the_bound_is_not_kept(cache: ObjectCache) -> None:
    cache.put(*content(1, 4000))
    assert cache.get(content(1, 4000)[0]) is None


def test_a_damaged_copy_is_dropped(cache: ObjectCache) -> None:
    digest, data = content(1)
    cache.put(digest, data)
    path = cache.folder / digest[:2] / digest
    path.write_bytes(data[:-1])
    assert cache.get(digest) is None
    assert not path.exists()


@pytest.mark.parametrize("booked", [b"", b"\x00", b"many", b"999999999"])
def test_a_lost_or_wrong_figure_is_counted_anew(cache: ObjectCache, booked: bytes) -> None:
    for seed in range(9):
        cache.put(*content(seed))
    (cache.folder / "used").write_bytes(booked)
    for seed in range(9, 30):
        cache.put(*content(seed))
        assert bytes_below(cache.folder) <= 10_000
    assert cache.get(content(29)[0]) is not None


def test_what_died_while_it_was_written_is_counted_and_cleared(cache: ObjectCache) -> None:
    cache.put(*content(1))
    left = cache.folder / content(1)[0][:2] / f".{content(1)[0]}.dead"
    left.write_bytes(bytes(5000))
    os.utime(left, (1, 1))
    (cache.folder / "used").write_bytes(b"")
    for seed in range(2, 6):
        cache.put(*content(seed))
    assert bytes_below(cache.folder) <= 10_000
    (cache.folder / "used").write_bytes(b"10000")
    cache.put(*content(6))
    assert not left.exists()
    assert content(1)[0] in cache.digests()


def test_a_cache_that_cannot_be_written_costs_nothing_but_itself(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    cache = ObjectCache(tmp_path / "file", 10_000)
    cache.put(*content(1))
    assert cache.get(content(1)[0]) is None
    assert list(cache.digests()) == []


def test_several_processes_share_one_cache_and_its_bound(tmp_path: Path) -> None:
    folder, most = tmp_path / "cache", MIB
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=fill_and_read, args=(folder, most, number)) for number in range(3)]
    for process in processes:
        process.start()
    while any(process.is_alive() for process in processes):
        assert bytes_below_now(folder) <= most
        processes[0].join(timeout=0.02)
    for process in processes:
        process.join(timeout=90)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert 0 < bytes_below(folder) <= most
    assert not list(folder.rglob(".*"))


def bytes_below_now(folder: Path) -> int:
    total = 0
    for path in folder.glob("*/*"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue
    return total


def fill_and_read(folder: Path, most: int, number: int) -> None:
    cache = ObjectCache(folder, most)
    for seed in range(120):
        digest, data = content(seed + number * 40, 20_000)
        found = cache.get(digest)
        assert found in (None, data)
        if found is None:
            cache.put(digest, data)


def test_only_a_bucket_has_a_cache(tmp_path: Path) -> None:
    folder = Settings(home=tmp_path)
    bucket = folder.with_changes(store_url="s3://radiographs")
    assert ObjectCache.of(folder) is None
    assert ObjectCache.of(bucket.with_changes(store_cache_bytes=0)) is None
    assert (found := ObjectCache.of(bucket)) is not None
    assert found.folder == tmp_path / "cache"
