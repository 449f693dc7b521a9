"""Folders of the inbox that were emptied by taking their files: they go too, once nobody uses them any more.

Left there, they pile up, and nobody can tell a folder that is finished from one that is being filled. Only folders from
which files were taken are looked at: one that somebody has just made is meant for files that are still to come. They
go when they have been empty and unchanged for thirty times as long as a file has to be quiet: a program that copies a
folder goes on to its next file within moments, and would fail if its folder went meanwhile. A folder into which a
device writes all day may hold a hidden file (`.keep`), and stays.
"""

from __future__ import annotations

import os
from pathlib import Path

#: How many times as long as a file. Our choice: half a minute by default, and longer where copying is slow.
EMPTY_TIMES = 30


class Emptied:
    """The folders of one inbox from which files were taken, until they are gone."""

    def __init__(self, inbox: Path, settle_seconds: float) -> None:
        self._inbox, self._quiet_seconds = inbox, EMPTY_TIMES * settle_seconds
        self._seen: dict[Path, tuple[int, float] | None] = {}  # when changed, and since when it looks like that

    def note(self, folder: Path) -> None:
        """Remember a folder from which a file was taken; the inbox itself never goes."""
        if folder != self._inbox and self._inbox in folder.parents:
            self._seen.setdefault(folder, None)

    def recover(self, *finished: Path) -> None:
        """Find empty folders that an earlier process emptied: their files went below one of these folders."""
        for folder, folders, names in os.walk(self._inbox):
            relative = Path(folder).relative_to(self._inbox)
            if not folders and not names and any((top / relative).is_dir() for top in finished):
                self.note(Path(folder))

    def tidy(self, now: float) -> None:
        """Remove those that have been empty and unchanged for long enough, then what held nothing but them."""
        for folder, before in list(self._seen.items()):
            try:
                changed = folder.stat().st_mtime_ns
                with os.scandir(folder) as entries:
                    is_empty = next(entries, None) is None
                if not is_empty or before is None or before[0] != changed:
                    self._seen[folder] = (changed, now)
                elif now - before[1] >= self._quiet_seconds:
                    folder.rmdir()  # which fails where a file came in this moment
                    self._seen.pop(folder)
                    self.note(folder.parent)
            except FileNotFoundError:
                self._seen.pop(folder)
            except OSError:
                self._seen[folder] = None  # not ours to remove, or away: looked at anew
