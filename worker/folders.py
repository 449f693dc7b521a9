"""Folders in the inbox: their names are tags, and SUMMARY.csv beside one answers all that came in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from core.database import Database
from core.pseudonyms import Pseudonyms
from core.records.settling import latest_settled, unsettled_members
from core.records.summaries import arrivals_with
from core.settings import Settings
from worker.summaries import summary_of, write_summary


class Folders:
    """The folders of one inbox that have not been answered."""

    def __init__(self, settings: Settings, database: Database, pseudonyms: Pseudonyms) -> None:
        self._settings, self._database, self._pseudonyms = settings, database, pseudonyms
        self._open: dict[str, str] = {}  # what stands for a folder's name, and the name

    def came_with(self, relative: Path) -> str | None:
        """Return what stands for the folder that a file came in, and remember that it needs an answer."""
        if len(relative.parts) < 2:
            return None
        key = self._pseudonyms.folder(relative.parts[0])
        self._open[key] = relative.parts[0]
        return key

    def recover(self) -> None:
        """Find folders that an earlier process left without an answer.

        Raises:
            DatabaseUnavailable: Then nothing is known yet.
        """
        settings = self._settings
        for top in (settings.inbox, settings.done, settings.failed):
            try:
                names = [entry.name for entry in top.iterdir() if entry.is_dir() and not entry.name.startswith(".")]
            except OSError:
                continue
            for name in names:
                key = self._pseudonyms.folder(name)
                with self._database.reading() as session:
                    came, settled = latest_settled(session, key)
                summary = summary_of(settings.done / name)
                answered = summary.is_file() and settled is not None and summary.stat().st_mtime >= settled.timestamp()
                if came and not answered:
                    self._open[key] = name

    def settle(self, is_in_hand: Callable[[str], bool]) -> int:
        """Answer folders of which every file has ended and nothing is left in the inbox; return how many.

        Args:
            is_in_hand: Whether files of a folder wait in the inbox, or have been taken and not been recorded.

        Raises:
            DatabaseUnavailable: Later.
            OSError: An answer cannot be written; it is tried again.
        """
        answered = 0
        for key, name in list(self._open.items()):
            with self._database.reading() as session:
                if unsettled_members(session, key) or is_in_hand(name):
                    continue
                rows = arrivals_with(session, key)
            if rows:
                write_summary(self._settings.done / name, rows)
                answered += 1
            self._open.pop(key)
        return answered
