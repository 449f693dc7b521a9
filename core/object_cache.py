"""Copies of a bucket's originals on this machine's disk: the least recently used go first, and the bound holds always.

    cache/ab/abcd...   a copy, named by its sha256; its time of change is when it was last wanted
    cache/used         how many bytes there are at most; who holds its lock may write

Several processes share one cache. Bytes are booked before their copy is written, so that a death in between leaves a
figure that is too high, never one that is too low; a clearing counts anew. A copy is compared with its hash each time.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from core.settings import Settings
from core.storage import key_of

#: A clearing leaves this share, so that the next copies need none.
_LEFT = 0.8
_USED, _TEMPORARY = "used", "."


class ObjectCache:
    """What is lost here, or cannot be written, costs another reading of the bucket and nothing else."""

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self.folder, self._most_bytes = folder, most_bytes

    @classmethod
    def of(cls, settings: Settings) -> ObjectCache | None:
        """Return the cache of this machine; None where the store is a folder or no cache is wished."""
        if settings.bucket is None or not settings.store_cache_bytes:
            return None
        return cls(settings.cache, settings.store_cache_bytes)

    def get(self, digest: str) -> bytes | None:
        """Return a copy; None when there is none, or none that is whole."""
        path = self.folder / key_of(digest)
        try:
            data = path.read_bytes()
            os.utime(path)
        except OSError:
            return None
        if hashlib.sha256(data).hexdigest() != digest:
            self.drop(digest)
            return None
        return data

    def put(self, digest: str, data: bytes) -> None:
        """Keep a copy of what was read; what is larger than a quarter of the bound is not kept."""
        if len(data) > self._most_bytes // 4:
            return
        with suppress(OSError):  # a full disk: then there is no copy
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._locked() as used:
                self._book(used, len(data))
                self._write(self.folder / key_of(digest), data)

    def drop(self, digest: str) -> None:
        """Delete a copy, if there is one."""
        with suppress(OSError):
            self.folder.joinpath(key_of(digest)).unlink()

    def digests(self) -> Iterator[str]:
        """Walk over the sha256 of every copy."""
        yield from (path.name for path, _ in self._copies() if not path.name.startswith(_TEMPORARY))

    def _book(self, used: IO[bytes], size: int) -> None:
        text = used.read()
        booked = int(text) + size if text.isdigit() else None  # unknown at first, and where a full disk cut it
        if booked is None or booked > self._most_bytes:
            booked = self._clear(int(_LEFT * self._most_bytes) - size) + size
        used.truncate(0)
        used.write(str(booked).encode())

    @contextmanager
    def _locked(self) -> Iterator[IO[bytes]]:
        with (self.folder / _USED).open("a+b", buffering=0) as used:
            fcntl.flock(used, fcntl.LOCK_EX)
            used.seek(0)
            yield used

    def _clear(self, most_bytes: int) -> int:
        """Delete the copies that were wanted longest ago; return how many bytes are left."""
        copies = sorted(self._copies(), key=lambda copy: copy[1].st_mtime_ns, reverse=True)
        left = 0
        for path, found in copies:
            if left + found.st_size <= most_bytes:
                left += found.st_size
                continue
            try:
                path.unlink(missing_ok=True)
            except OSError:
                left += found.st_size
        return left

    def _copies(self) -> Iterator[tuple[Path, os.stat_result]]:
        """Walk over copies, and over what died while it was written."""
        for parent in self.folder.glob("[0-9a-f][0-9a-f]"):
            with suppress(OSError):
                for path in parent.iterdir():
                    with suppress(FileNotFoundError):
                        yield path, path.stat()

    def _write(self, path: Path, data: bytes) -> None:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        temporary = path.with_name(f"{_TEMPORARY}{path.name}.{secrets.token_hex(4)}")
        try:
            temporary.write_bytes(data)  # not synced: what a power cut damages is noticed by its hash
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
