"""Is this file finished? A pure class, apart from the watching.

Slow network copies, scanners and browsers write in steps and pause; a name appears long before its content is whole.
A file is ready when its size and time have not changed for `settle_seconds` by our own clock, whatever its
modification time says (a copy that keeps times looks old at once).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

#: An empty file is often the first moment of a slow copy: it must be quiet for this many times longer.
EMPTY_PATIENCE = 5
#: One that breaks off, as `worker.endings` tells, is probably still on its way: its writer only pauses.
UNFINISHED_PATIENCE = 10

JUNK_NAMES = frozenset({"thumbs.db", "desktop.ini", "icon\r"})
PARTIAL_SUFFIXES = (".part", ".partial", ".tmp", ".temp", ".crdownload", ".filepart", ".download", ".swp", "~")


@dataclass(frozen=True)
class Look:
    """What one look at a file showed."""

    size: int  # bytes
    modified_ns: int

    @classmethod
    def of(cls, found: os.stat_result) -> Look:
        """Keep of a file's facts what tells a change."""
        return cls(found.st_size, found.st_mtime_ns)

    @classmethod
    def at(cls, path: Path) -> Look:
        """Look at a file.

        Raises:
            OSError: It is not there.
        """
        return cls.of(path.stat())


@dataclass
class _Watched:
    look: Look
    since: float  # our clock when this look was first seen
    times: int  # as many times as usual it has to be quiet


class StabilityTracker:
    """Remembers when each file last changed."""

    def __init__(self, settle_seconds: float) -> None:
        self._settle_seconds = settle_seconds
        self._files: dict[Path, _Watched] = {}

    def __len__(self) -> int:
        return len(self._files)

    def see(self, path: Path, look: Look, now: float) -> bool:
        """Note a look at a file.

        Args:
            path: Which file.
            look: Its size and time.
            now: A monotonic clock, in seconds.

        Returns:
            Whether it has been quiet for long enough.
        """
        watched = self._files.get(path)
        if watched is None or watched.look != look:
            self._files[path] = _Watched(look, now, EMPTY_PATIENCE if look.size == 0 else 1)
            return False
        return now >= self._due_at(watched)

    def is_quiet(self, path: Path, now: float, *, times: int) -> bool:
        """Whether a watched file has been quiet for so many times the usual; until then it is not due."""
        watched = self._files.get(path)
        if watched is None:
            return False
        watched.times = max(watched.times, times)
        return now >= self._due_at(watched)

    def due(self, now: float) -> list[Path]:
        """Return the files that may be ready by now, longest quiet first, so that each is looked at rarely."""
        waiting = [path for path, watched in self._files.items() if now >= self._due_at(watched)]
        return sorted(waiting, key=lambda path: self._files[path].since)

    def seconds_until_due(self, now: float) -> float | None:
        """Return how long nothing can become ready, or None when no file is watched."""
        if not self._files:
            return None
        return max(0.0, min(self._due_at(watched) for watched in self._files.values()) - now)

    def _due_at(self, watched: _Watched) -> float:
        return watched.since + watched.times * self._settle_seconds

    def forget(self, path: Path) -> None:
        """Stop watching a file: it was taken, or it is gone."""
        self._files.pop(path, None)

    def __contains__(self, path: object) -> bool:
        return path in self._files


def is_ignored(relative: Path) -> bool:
    """Tell junk and unfinished names, which are left alone, from files that are meant for us.

    Args:
        relative: The path below the inbox.
    """
    if any(part.startswith(".") for part in relative.parts):
        return True  # hidden files and folders, and macOS's `._name` twins
    name = relative.name.lower()
    return name in JUNK_NAMES or name.startswith("~$") or name.endswith(PARTIAL_SUFFIXES)
