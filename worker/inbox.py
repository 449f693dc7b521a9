"""The watched folder: files settle, are claimed by rename, recorded, and moved on when their work has ended.

    inbox/NAME -> processing/CLAIM/NAME -> store and rows -> done/NAME or failed/NAME with NAME.reason.txt

A crash at any point loses nothing and doubles nothing: a file below `processing/` without an arrival is recorded at
the next start, one whose arrival has ended is moved on, and the folder's name CLAIM is a unique key of the arrival.
"""

from __future__ import annotations

import logging
import os
import secrets
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import groupby
from pathlib import Path

from core.database import Database
from core.errors import RejectedImage, Unavailable, UnreadableImage, UnsupportedFormat
from core.ingest import BEGINNING, Incoming, Ingest, displayable
from core.records.intake import Submission
from core.records.settling import Settled, ended_arrivals, known_claims, mark_settled
from core.settings import Settings
from core.tables import Source
from worker.archives import Archives
from worker.folders import Folders
from worker.moving import move, move_aside, remove_empty, write_reason
from worker.settling import EMPTY_PATIENCE, Look, StabilityTracker, is_ignored
from worker.sidecars import KEPT_AS, BadSidecar, Sidecar, has_file, leave_with, read_sidecar, sidecar_of

log = logging.getLogger(__name__)

#: Files recorded in one transaction, and the most bytes that they may have together while they are in memory.
CHUNK_FILES, CHUNK_BYTES = 64, 128 * 2**20
#: Files that one call of `settle` moves on.
_SETTLED_AT_ONCE = 500
#: Pause after a passing failure (disk full, database away): doubled up to the longest.
_LONGEST_TAG = 64
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0


class Inbox:
    """One installation's inbox. `watch_inbox` calls the steps in a loop; tests call them one by one."""

    def __init__(self, settings: Settings, database: Database, ingest: Ingest) -> None:
        self._settings, self._database, self._ingest = settings, database, ingest
        self._processing, self._done, self._failed = settings.processing, settings.done, settings.failed
        self.tracker = StabilityTracker(settings.settle_seconds)
        self._unrecorded: dict[str, Look | None] = {}  # claims without an arrival, and the look when they were taken
        self._refused: dict[str, RejectedImage] = {}  # claims of archives that cannot be used
        self._unsure = False  # the last recording failed, perhaps only after its commit
        self._not_before = 0.0  # no recording before this moment of the monotonic clock
        self._pause = _FIRST_PAUSE
        self._settled_up_to = 0  # the arrival after which `settle` goes on; 0: it begins anew
        self._archives = Archives(settings, database, ingest, (CHUNK_FILES, CHUNK_BYTES))
        self._folders = Folders(settings, database, ingest.pseudonyms)
        self._complained: set[Path] = set()  # paths whose failure has been told

    @property
    def backlog(self) -> int:
        """Files that are seen or taken and not recorded yet."""
        return len(self.tracker) + len(self._unrecorded)

    def recover(self) -> int:
        """Find files that an earlier process claimed and did not record; return how many.

        Raises:
            DatabaseUnavailable: Then nothing is known yet; call again.
        """
        with os.scandir(self._processing) as entries:
            claims = sorted(entry.name for entry in entries if entry.is_dir())
        found = self._recorded(claims)
        for claim in claims:
            if claim not in found:
                _remove_unfinished(self._processing / claim)
                self._unrecorded.setdefault(claim, None)
        self._folders.recover()
        return len(self._unrecorded)

    def scan(self) -> None:
        """Look at everything in the inbox.

        Raises:
            OSError: The inbox is not there.
        """
        with os.scandir(self._settings.inbox):  # a missing root must be noticed, not taken for an empty one
            pass
        self._look_below(self._settings.inbox, time.monotonic())

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
            self._complain(path, "Something in the inbox is no regular file (a link or a device); it is left alone.")
            return False
        return self.tracker.see(path, Look(found.st_size, found.st_mtime_ns), now)

    def claim_ready(self) -> int:
        """Take the files that have settled; return how many."""
        now, taken = time.monotonic(), 0
        for path in self.tracker.due(now):
            if not self.look_at(path, now) or self._waits_for_the_other(path, now):
                continue
            try:
                claim, look = self._claim(path)
            except FileNotFoundError:
                pass  # taken away meanwhile
            except OSError as error:
                self._complain(path, f"A file in the inbox cannot be taken: {error.strerror}; it is tried again.")
                # Seen anew: it must be quiet once more, which keeps a hopeless file from a busy loop.
                self.tracker.forget(path)
                continue
            else:
                self._unrecorded[claim] = look
                taken += 1
            self.tracker.forget(path)
        return taken

    def _waits_for_the_other(self, path: Path, now: float) -> bool:
        """Whether a file waits for its sidecar to lie still, or a sidecar for its file."""
        if path.suffix.lower() == ".json":
            if has_file(path):
                self.tracker.forget(path)  # it is taken with its file
                return True
            return not self.tracker.is_quiet(path, now, times=EMPTY_PATIENCE)
        sidecar = sidecar_of(path)
        return sidecar is not None and not self.look_at(sidecar, now)

    def record(self) -> int:
        """Store and record what was claimed; return how many files. A passing cause is tried again later."""
        recorded = 0
        while self._unrecorded and time.monotonic() >= self._not_before:
            try:
                if self._unsure:
                    for claim in self._recorded(list(self._unrecorded)):
                        self._unrecorded.pop(claim)
                    self._unsure = False
                recorded += self._record_archives()
                chunk = list(self._chunk())
                if not chunk:
                    break
                # Of one submission as long as they say the same of themselves.
                for submission, files in groupby(chunk, key=self._submission_of):
                    self._ingest.take(submission, files)
            except Unavailable as error:
                self._unsure = True
                log.warning(
                    "%s %d files wait in processing/; next try in %g s.", error, len(self._unrecorded), self._pause
                )
                self._not_before = time.monotonic() + self._pause
                self._pause = min(2 * self._pause, _LONGEST_PAUSE)
                break
            self._pause = _FIRST_PAUSE
            for file in chunk:
                self._unrecorded.pop(file.claim or "")
                self._refused.pop(file.claim or "", None)
            recorded += len(chunk)
        return recorded

    def _submission_of(self, file: Incoming) -> Submission:
        """Return what a file belongs to: its folders are tags, unless they may be a patient's name."""
        path = self._processing / (file.claim or "") / file.name
        folders = Path(file.name).parent.parts
        hidden = self._ingest.hides(file.name, (file.data or file.beginning)[:BEGINNING])
        return self._submission(self._label(file.claim or "", path), () if hidden else folders)

    def _submission(self, label: Sidecar, folders: Sequence[str]) -> Submission:
        tags = dict.fromkeys([*(displayable(folder)[:_LONGEST_TAG] for folder in folders), *label.tags])
        return Submission(source=Source.INBOX, name=label.submission, tags=tuple(tags), priority=label.priority)

    def _label(self, claim: str, path: Path) -> Sidecar:
        """Return what the sidecar says of a claimed file; one that came after its file is looked for once more."""
        folder = self._processing / claim
        try:
            if not (folder / KEPT_AS).exists():
                given = self._settings.inbox / path.relative_to(folder)
                late = sidecar_of(given)
                if late is not None and self.look_at(late, time.monotonic()):
                    self._take_sidecar(given, folder)
            return read_sidecar(folder / KEPT_AS)
        except (OSError, BadSidecar):
            return Sidecar()

    def _take_sidecar(self, path: Path, folder: Path) -> None:
        sidecar = sidecar_of(path)
        if sidecar is not None:
            with suppress(OSError):  # left behind, it is a file without its file
                move(sidecar, folder / KEPT_AS)
                self.tracker.forget(sidecar)

    def _record_archives(self) -> int:
        """Record the files of archives; return how many. What is no archive, or none that can be used, is left."""
        recorded = 0
        for claim, look in list(self._unrecorded.items()):
            path = file_below(self._processing / claim)
            try:
                if path is None or not self._archives.is_one(path) or (look is not None and _look(path) != look):
                    continue
                label, relative = self._label(claim, path), path.relative_to(self._processing / claim)
                recorded += self._archives.record(claim, path, self._submission(label, relative.parent.parts), label)
            except FileNotFoundError:
                continue  # taken away meanwhile
            except OSError:
                continue  # recorded as a file that cannot be read
            except RejectedImage as problem:
                self._refused[claim] = problem
                continue
            self._unrecorded.pop(claim)
        return recorded

    def settle(self) -> int:
        """Move files whose work has ended out of `processing/`; return how many.

        Raises:
            DatabaseUnavailable: They are moved later.
        """
        with self._database.reading() as session:
            ended = ended_arrivals(session, limit=_SETTLED_AT_ONCE, after=self._settled_up_to)
        # Those that cannot be moved stay ended: without going on behind them, enough of them would block all others.
        self._settled_up_to = ended[-1].arrival_id if len(ended) == _SETTLED_AT_ONCE else 0
        moved = []
        for settled in ended:
            try:
                self.move_on(settled)
            except OSError as error:
                folder = self._processing / settled.claim
                self._complain(folder, f"A finished file cannot leave {folder}: {error.strerror}; it is tried again.")
            else:
                moved.append(settled.arrival_id)
        if moved:
            with self._database.transaction() as session:
                mark_settled(session, moved)
        try:
            archives = self._archives.settle(file_below)
            self._folders.settle()
            return len(moved) + archives
        except OSError as error:
            self._complain(
                self._processing, f"An archive or its answer cannot leave: {error.strerror}; it is tried again."
            )
            return len(moved)

    def seconds_until_due(self) -> float | None:
        """Return how long nothing is to be done for files seen or claimed; None: nothing waits."""
        if self._unrecorded:
            return max(0.0, self._not_before - time.monotonic())
        return self.tracker.seconds_until_due(time.monotonic())

    def _recorded(self, claims: Sequence[str]) -> set[str]:
        found: set[str] = set()
        for start in range(0, len(claims), 500):
            with self._database.reading() as session:
                found |= known_claims(session, claims[start : start + 500])
        return found

    def _claim(self, path: Path) -> tuple[str, Look]:
        claim = secrets.token_hex(8)
        target = self._processing / claim / path.relative_to(self._settings.inbox)
        target.parent.mkdir(parents=True)
        try:
            move(path, target)
        except OSError:
            remove_empty(target.parent, self._processing)
            raise
        self._take_sidecar(path, self._processing / claim)
        return claim, _look(target)

    def _chunk(self) -> Iterator[Incoming]:
        """Read the next claimed files; those that are still being written wait, those that are gone are dropped."""
        size = count = 0
        for claim, look in list(self._unrecorded.items()):
            path = file_below(self._processing / claim)
            if path is None:
                _remove_empty_tree(self._processing / claim)
                self._unrecorded.pop(claim)
                continue
            try:
                before = _look(path)
                if count and (size + before.size > CHUNK_BYTES or count >= CHUNK_FILES):
                    return
                problem: RejectedImage | None = self._refused.get(claim)
                data, beginning = None, b""
                if problem is None:
                    data, beginning, problem = self._read(path, before.size)
                after = _look(path)
            except FileNotFoundError:
                continue  # taken away meanwhile; the next round drops it
            name = path.relative_to(self._processing / claim).as_posix()
            if after != before or (look is not None and after != look):
                # Its writer still has it open and went on after a long pause; a rename does not stop it.
                self._unrecorded[claim] = after
                self._not_before = time.monotonic() + self._settings.settle_seconds
                continue
            if name.lower().endswith(".json"):
                problem = UnsupportedFormat("A sidecar NAME.json needs its file NAME beside it; there was none.")
            size, count = size + after.size, count + 1
            yield Incoming(
                name=name,
                data=data,
                size=after.size,
                claim=claim,
                came_with=self._folders.came_with(Path(name)),
                problem=problem,
                beginning=beginning,
            )

    def _read(self, path: Path, size: int) -> tuple[bytes | None, bytes, UnreadableImage | None]:
        try:
            if size > self._settings.max_file_bytes:
                with path.open("rb") as stream:
                    return None, stream.read(BEGINNING), None
            return path.read_bytes(), b"", None
        except FileNotFoundError:
            raise
        except OSError as error:
            return None, b"", UnreadableImage(f"The file cannot be read: {error.strerror}.")

    def move_on(self, settled: Settled) -> None:
        """Move one file whose work has ended to where it belongs.

        Raises:
            OSError: It could not be moved; it is still in `processing/`.
        """
        folder = self._processing / settled.claim
        path = file_below(folder)
        if path is not None:
            relative = path.relative_to(folder)
            if settled.reasons:
                target = move_aside(
                    path,
                    self._failed,
                    relative,
                    before_leaving=lambda target: write_reason(target, settled.reasons),
                )
            elif self._settings.inbox_done == "delete":
                path.unlink()
                (folder / KEPT_AS).unlink(missing_ok=True)
                target = path
            else:
                target = move_aside(path, self._done, relative)
            leave_with(folder, target, self._failed, relative)
            remove_empty(path.parent, self._processing)
        else:
            # A crash came between the file's leaving and its sidecar's, whose name is not known any more.
            leave_with(folder, self._done / settled.claim, self._failed, Path(settled.claim))
            _remove_empty_tree(folder)

    def _complain(self, path: Path, sentence: str) -> None:
        """Say it once for each path. Names of files stay out of the log: they may be patients' names."""
        if path not in self._complained:
            self._complained.add(path)
            log.error("%s", sentence)

    def _look_below(self, top: Path, now: float) -> None:
        for folder, folders, names in os.walk(top):
            folders[:] = [name for name in folders if not name.startswith(".")]
            for name in names:
                path = Path(folder, name)
                if path not in self.tracker:
                    self.look_at(path, now)


def _look(path: Path) -> Look:
    found = path.stat()
    return Look(found.st_size, found.st_mtime_ns)


def file_below(folder: Path) -> Path | None:
    """Return the one file that a claim's folder holds; hidden ones are copies in the making, see `move`."""
    folders = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(folder / entry.name)
                elif not entry.name.startswith("."):
                    return folder / entry.name
    except OSError:
        return None
    return next((found for below in folders if (found := file_below(below))), None)


def _remove_unfinished(folder: Path) -> None:
    """Remove what a crash left of a copy from another file system; its source is still in the inbox."""
    for parent, _, names in os.walk(folder):
        for name in names:
            if name.startswith(".") and name != KEPT_AS:
                Path(parent, name).unlink(missing_ok=True)


def _remove_empty_tree(folder: Path) -> None:
    """Remove a folder and those below it, as far as they are empty; one that is gone is no matter."""
    for parent, _, _ in os.walk(folder, topdown=False):
        with suppress(OSError):
            Path(parent).rmdir()
