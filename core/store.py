"""The store of originals as every part knows it, as a folder (`storage.py`) or a bucket (`object_store.py`).

Keys are the same in both, so originals can be copied from one to the other by any tool. Content never changes under its
key. What is put is durable before `put` returns, and so before its row is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from core.settings import Settings
from core.storage import FolderStore


class Store(Protocol):
    """What a store can do. Safe to use from several threads, processes and machines.

    Each method raises `StoreUnavailable` when the store is away, and `ValueError` for a key that is none.
    """

    def put(self, data: bytes, sha256: str) -> str:
        """Keep one original for good; return its key. The same content again marks it as wanted now."""

    def restore(self, data: bytes, sha256: str) -> None:
        """Write an original anew, whatever lies in its place; `ValueError` when it has another hash."""

    def get(self, key: str) -> bytes:
        """Return one original, compared with its hash: `OriginalAltered` when it differs.

        One that is missing is a passing cause: `StoreUnavailable`.
        """

    def size(self, key: str) -> int | None:
        """Return how many bytes lie under a key; None when it is missing."""

    def verify(self, key: str) -> bool:
        """Whether what lies there is what came in, read anew."""

    def age_seconds(self, key: str) -> float | None:
        """Return for how long nobody has written or wanted an original; None when it is missing."""

    def kept(self) -> Iterator[str]:
        """Walk over the sha256 of every original, in no particular order."""

    def discard(self, key: str, is_needed: Callable[[], bool]) -> bool:
        """Delete an original unless somebody wants it at this moment; return whether it is gone by this call."""

    def unfinished(self) -> list[str]:
        """Return what processes that died long ago left behind."""

    def clear_unfinished(self) -> None:
        """Delete that."""

    def reach(self) -> None:
        """Raise when the store is away. Quick; a store that is away must not look like one that lost everything."""

    def probe(self) -> None:
        """Write, read and delete something of no meaning; raise when one of them fails."""


def open_store(settings: Settings) -> Store:
    """Open the store that the settings name; nothing is asked of it yet.

    Raises:
        ConfigurationError: The address names none, or what a bucket needs is not installed.
    """
    if settings.bucket is None:
        return FolderStore.at(settings.store_url)
    from core.object_store import ObjectStore  # costs time and memory that installations with a folder never pay

    return ObjectStore.of(settings)
