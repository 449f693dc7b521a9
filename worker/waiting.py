"""What lies in the inbox: which files are meant for us, which lie still, and which are taken now. Knows no database."""

from __future__ import annotations

import logging
import os
import stat
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from core.settings import Settings
from worker.custody import Custody
from worker.endings import breaks_off
from worker.settling import EMPTY_PATIENCE, UNFINISHED_PATIENCE, Look, StabilityTracker, is_ignored
from worker.sidecars import has_file, sidecar_of

log = logging.getLogger(__name__)

#: Files that are taken before some are recorded, so that a drop of thousands does not keep the process from its beat.
_CLAIMED_AT_ONCE = 512
#: A share answers several renames nearly as fast as one, and a disk several copies and removed folders.
_TAKEN_SIDE_BY_SIDE = 8
NO_FILE = "Something in the inbox is no regular file (a link or a device); it is left alone."


class Complaints:
    """Says what is wrong once for each path. Names of files stay out of the log: they may be patients' names."""

    def __init__(self) -> None:
        self._told: set[Path] = set()

    def tell(self, path: Path, sentence: str) -> None:
        """Log a sentence, unless this path has had one."""
        if path not in self._told:
            self._told.add(path)
            log.error("%s", sentence)


class Waiting:
    """The files of one inbox that have not been taken."""

    def __init__(self, settings: Settings, custody: Custody, complaints: Complaints) -> None:
        self._settings, self._custody, self._complaints = settings, custody, complaints
        self.tracker = StabilityTracker(settings.settle_seconds)
        self.side_by_side = ThreadPoolExecutor(_TAKEN_SIDE_BY_SIDE, thread_name_prefix="inbox")

    def scan(self) -> None:
        """Look at everything in the inbox.

        Raises:
            OSError: The inbox is not there.
        """
        with os.scandir(self._settings.inbox):  # a missing root must be noticed, not taken for an empty one
            pass
        self._look_below(self._settings.inbox, time.monotonic())
        self._custody.scanned()

    def look_at(self, path: Path, now: float) -> bool:
        """Look at one file, or at all files of a folder; return whether a file is ready to be taken."""
        try:
            if is_ignored(path.relative_to(self._settings.inbox)):
                return False
            found = path.lstat()
        except (OSError, ValueError):  # gone, or no path below the inbox
            self.tracker.forget(path)
            return False
        if stat.S_ISDIR(found.st_mode):
            self._look_below(path, now)  # moved in whole: its files have no events of their own
            return False
        if not stat.S_ISREG(found.st_mode):
            self._complaints.tell(path, NO_FILE)
            return False
        return self.tracker.see(path, Look.of(found), now)

    def claim_ready(self) -> dict[str, Look]:
        """Take the files that have settled, some hundred at once; return their claims, and how each looked then."""
        ready = list(islice(self._ready(time.monotonic()), _CLAIMED_AT_ONCE))
        taken: dict[str, Look] = {}
        for path, claimed in zip(ready, self.side_by_side.map(self._claim, ready), strict=True):
            # One that cannot be taken is seen anew: it must be quiet once more, which keeps it from a busy loop.
            self.tracker.forget(path)
            if isinstance(claimed, tuple):
                taken[claimed[0]] = claimed[1]
            elif not isinstance(claimed, FileNotFoundError):  # else it was taken away meanwhile
                words = f"A file in the inbox cannot be taken: {claimed.strerror}; it is tried again."
                self._complaints.tell(path, words)
        return taken

    def _ready(self, now: float) -> Iterator[Path]:
        for path in self.tracker.due(now):
            if not self.look_at(path, now):
                continue
            try:
                if not self._waits_for_the_other(path, now) and not self._breaks_off(path, now):
                    yield path
            except OSError:
                self.tracker.forget(path)  # taken away meanwhile; what is still there is seen anew

    def _claim(self, path: Path) -> tuple[str, Look] | OSError:
        try:
            return self._custody.claim(path, Look.at(path))
        except OSError as error:
            return error

    def _breaks_off(self, path: Path, now: float) -> bool:
        """Whether a file has no end yet, and has not been quiet for so long that none will come."""
        return breaks_off(path, most_bytes=self._settings.max_file_bytes) and not self.tracker.is_quiet(
            path, now, times=UNFINISHED_PATIENCE
        )

    def _waits_for_the_other(self, path: Path, now: float) -> bool:
        """Whether a file waits for its sidecar to lie still, or a sidecar for its file."""
        if path.suffix.lower() == ".json":
            if has_file(path):
                self._custody.pass_over(path, Look.at(path))
                self.tracker.forget(path)  # it is taken with its file
                return True
            return not self.tracker.is_quiet(path, now, times=EMPTY_PATIENCE)
        sidecar = sidecar_of(path)
        return sidecar is not None and not self.look_at(sidecar, now)

    def _look_below(self, top: Path, now: float) -> None:
        for folder, folders, names in os.walk(top):
            folders[:] = [name for name in folders if not name.startswith(".")]
            for name in names:
                path = Path(folder, name)
                if path not in self.tracker and self._custody.is_new(path):
                    self.look_at(path, now)
