"""Folder events, as hints: a thread of watchdog puts changed paths into a queue.

Events get lost (inotify's queue overflows, network shares send none, an observer dies, watchdog#654, #276), so the
inbox also scans on a timer and never depends on an event. Where none come, in polling mode, it only scans: watchdog's
own observer for that would walk through the share a second time, and say nothing that the scan does not see.
"""

from __future__ import annotations

import logging
import os
import queue
from pathlib import Path

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

log = logging.getLogger(__name__)

#: Reading a file, which we do ourselves, and its attributes change nothing about readiness (paperless#13511).
_IGNORED_EVENTS = frozenset({"opened", "closed_no_write", "attrib"})


class FolderWatch:
    """Watches one folder tree; started again when its thread has died or the folder was replaced."""

    def __init__(self, folder: Path, *, polling: bool) -> None:
        """Watch `folder`; `polling`: there are no events, and only its coming back is noticed."""
        self._folder, self._polling = folder, polling
        self._observer: BaseObserver | None = None
        self._watched: tuple[int, int] | None = None  # device and inode of the folder that is watched
        self._told = False  # that watching does not work
        self.changed: queue.SimpleQueue[Path] = queue.SimpleQueue()

    def keep_up(self) -> bool:
        """Make sure that the folder as it is now is being watched.

        Returns:
            Whether the watch was (re)started, so that a scan is due.

        Raises:
            OSError: The folder is not there.
        """
        found = self._folder.stat()
        identity = (found.st_dev, found.st_ino)
        if identity == self._watched and (self._polling or (self._observer is not None and self._observer.is_alive())):
            return False
        self.stop()
        if self._polling:
            self._watched = identity
            return True
        observer = Observer()
        try:
            observer.schedule(_Hints(self.changed), str(self._folder), recursive=True)
            observer.start()
        except OSError as error:  # no inotify instances left, for one (watchdog#846)
            if not self._told:
                log.warning("The inbox cannot be watched (%s); it is scanned on a timer.", error.strerror or error)
            self._told = True
            return False
        self._observer, self._watched, self._told = observer, identity, False
        return True

    def stop(self) -> None:
        """End the thread."""
        if self._observer is not None and self._observer.is_alive():
            self._observer.stop()
            self._observer.join(timeout=5)
        self._observer = None


class _Hints(FileSystemEventHandler):
    def __init__(self, changed: queue.SimpleQueue[Path]) -> None:
        self._changed = changed

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Pass the path on; whether it is a file, and ready, is found out by looking."""
        # A folder is "modified" by each file that is put into it; walking it each time would be quadratic.
        if event.event_type in _IGNORED_EVENTS or (event.is_directory and event.event_type == "modified"):
            return
        for path in (event.src_path, event.dest_path):
            if path:
                self._changed.put(Path(os.fsdecode(path)))
