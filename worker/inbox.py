"""The watched folder: files settle, are claimed, recorded, and put away when their work has ended.

A crash at any point loses nothing and doubles nothing: a claim without an arrival is recorded at the next start, one
whose arrival has ended is put away, and the claim is a unique key of the arrival. Where files are meanwhile is
`worker.custody`'s business.
"""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from core.database import Database
from core.errors import RejectedImage, Unavailable, UnreadableImage, UnsupportedFormat
from core.ingest import BEGINNING, Incoming, Ingest, displayable
from core.records.intake import Submission
from core.records.settling import Settled, ended_arrivals, known_claims, mark_settled, opened_claims
from core.settings import Settings
from core.tables import Source
from worker.archives import Archives
from worker.custody import Custody, Processing
from worker.folders import Folders
from worker.in_place import InPlace
from worker.moving import write_reason
from worker.settling import Look
from worker.sidecars import ALONE, BadSidecar, Sidecar, read_sidecar, sidecar_of
from worker.waiting import Complaints, Waiting

log = logging.getLogger(__name__)

#: Files recorded in one transaction, and the most bytes that they may have together while they are in memory.
CHUNK_FILES, CHUNK_BYTES = 64, 128 * 2**20
#: Files that one call of `settle` moves on.
_SETTLED_AT_ONCE = 500
_LONGEST_TAG = 64
#: Pause after a passing failure (disk full, database away): doubled up to the longest.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
#: What a share says that is away for the moment. Not EIO: so does a disk of which a part is lost for good.
_AWAY = (errno.ESTALE, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENOTCONN)


class Inbox:
    """One installation's inbox. `watch_inbox` calls the steps in a loop; tests call them one by one."""

    def __init__(self, settings: Settings, database: Database, ingest: Ingest) -> None:
        self._settings, self._database, self._ingest = settings, database, ingest
        self._custody: Custody = Processing(settings)
        if settings.inbox_read_only:
            self._custody = InPlace(settings, ingest.pseudonyms)
        self._complaints = Complaints()
        self.waiting = Waiting(settings, self._custody, self._complaints)
        self._unrecorded: dict[str, Look | None] = {}  # claims without an arrival, and the look when they were taken
        self._no_archives: set[str] = set()  # those of them that were looked into
        self._refused: dict[str, RejectedImage] = {}  # claims of archives that cannot be used
        self._unsure = False  # some of them may have an arrival: a commit whose answer was lost, a file left in place
        self._not_before = 0.0  # no recording before this moment of the monotonic clock
        self._pause = _FIRST_PAUSE
        self._at_once = CHUNK_FILES  # files that are recorded together
        self._settled_up_to = 0  # the arrival after which `settle` goes on; 0: it begins anew
        self._archives = Archives(settings, database, ingest, self._custody, (CHUNK_FILES, CHUNK_BYTES))
        self._folders = Folders(settings, database, ingest.pseudonyms)

    @property
    def backlog(self) -> int:
        """Files that are seen or taken and not recorded yet."""
        return len(self.waiting.tracker) + len(self._unrecorded)

    def recover(self) -> int:
        """Find files that an earlier process claimed and did not record; return how many.

        Raises:
            DatabaseUnavailable: Then nothing is known yet; call again.
        """
        claims = self._custody.recover()
        found = self._recorded(claims)
        for claim in claims:
            if claim not in found and not self._finish_copy(claim):
                self._unrecorded.setdefault(claim, None)
        self._folders.recover()
        return len(self._unrecorded)

    def scan(self) -> None:
        """Look at everything in the inbox.

        Raises:
            OSError: The inbox is not there.
        """
        self.waiting.scan()
        self._custody.tidy(time.monotonic())

    def look_at(self, path: Path, now: float) -> bool:
        """Look at one file, or at all files of a folder; return whether a file is ready to be taken."""
        return self.waiting.look_at(path, now)

    def claim_ready(self) -> int:
        """Take the files that have settled, some hundred at once; return how many."""
        taken = self.waiting.claim_ready()
        self._unrecorded.update(taken)
        self._unsure = self._unsure or (bool(taken) and self._settings.inbox_read_only)
        return len(taken)

    def record(self) -> int:
        """Store and record what was claimed; return how many files. A passing cause is tried again later."""
        recorded = 0
        while self._unrecorded and time.monotonic() >= self._not_before:
            chunk: list[Incoming] = []
            try:
                if self._unsure:
                    for claim in self._recorded(list(self._unrecorded)):
                        self._drop(claim)
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
                # The cause may be one file's alone, as a folder of the store that cannot be written: taken one by one,
                # it waits behind all others.
                if len(chunk) == 1 and (claim := chunk[0].claim or "") in self._unrecorded:
                    self._unrecorded[claim] = self._unrecorded.pop(claim)
                self._at_once = 1
                break
            self._pause = _FIRST_PAUSE
            self._at_once = min(2 * self._at_once, CHUNK_FILES)
            for file in chunk:
                self._drop(file.claim or "")
            recorded += len(chunk)
        return recorded

    def _drop(self, claim: str) -> None:
        """Have done with a claim: it is recorded, or its file is gone."""
        self._unrecorded.pop(claim, None)
        self._refused.pop(claim, None)
        self._no_archives.discard(claim)

    def _submission_of(self, file: Incoming) -> Submission:
        """Return what a file belongs to: its folders are tags, unless they may be a patient's name."""
        relative = Path(file.name)
        hidden = self._ingest.hides(file.name, (file.data or file.beginning)[:BEGINNING])
        return self._submission(self._label(file.claim or "", relative), () if hidden else relative.parent.parts)

    def _submission(self, label: Sidecar, folders: Sequence[str]) -> Submission:
        tags = dict.fromkeys([*(displayable(folder)[:_LONGEST_TAG] for folder in folders), *label.tags])
        return Submission(source=Source.INBOX, name=label.submission, tags=tuple(tags), priority=label.priority)

    def _label(self, claim: str, relative: Path) -> Sidecar:
        """Return what the sidecar says of a claimed file; one that came after its file is looked for once more."""
        try:
            kept = self._custody.sidecar_of(claim)
            if kept is None:
                given = self._settings.inbox / relative
                late = sidecar_of(given)
                if late is not None and self.look_at(late, time.monotonic()):
                    kept = self._custody.take_sidecar(claim, given)
                    self.waiting.tracker.forget(late)
            return Sidecar() if kept is None else read_sidecar(kept)
        except (OSError, BadSidecar):
            return Sidecar()

    def _record_archives(self) -> int:
        """Record the files of archives; return how many. What is no archive, or none that can be used, is left."""
        recorded = 0
        for claim, look in list(self._unrecorded.items()):
            if claim in self._no_archives or (found := self._custody.file_of(claim)) is None:
                continue
            path, relative = found
            try:
                if not self._archives.is_one(path):
                    self._no_archives.add(claim)
                    continue
                if look is not None and Look.at(path) != look:
                    continue
                # What lies in processing/ is not finished; what stays in place may have been, before a restart.
                if not (self._settings.inbox_read_only and self._archives.is_finished(claim, relative)):
                    label = self._label(claim, relative)
                    submission = self._submission(label, relative.parent.parts)
                    recorded += self._archives.record(claim, path, submission, label)
            except FileNotFoundError:
                continue  # taken away meanwhile
            except OSError:
                continue  # recorded as a file that cannot be read
            except RejectedImage as problem:
                self._refused[claim] = problem
                self._no_archives.add(claim)
                continue
            self._drop(claim)
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
                put_away(self._custody, settled)
            except OSError as error:
                folder = self._settings.processing / settled.claim
                words = f"A finished file cannot leave {folder}: {error.strerror}; it is tried again."
                self._complaints.tell(folder, words)
            else:
                moved.append(settled)
        # One after the other: of two files of a name the first keeps it. Folders that are left go side by side, since
        # a disk may take milliseconds to forget one.
        list(self.waiting.side_by_side.map(self._custody.forget, [settled.claim for settled in moved]))
        if moved:
            with self._database.transaction() as session:
                mark_settled(session, [settled.arrival_id for settled in moved])
        try:
            archives = self._archives.settle()
            self._folders.settle(lambda folder: self._custody.waits_below(folder, self._unrecorded))
            return len(moved) + archives
        except OSError as error:
            words = f"An archive or its answer cannot leave: {error.strerror}; it is tried again."
            self._complaints.tell(self._settings.processing, words)
            return len(moved)

    def seconds_until_due(self) -> float | None:
        """Return how long nothing is to be done for files seen or claimed; None: nothing waits."""
        if self._unrecorded:
            return max(0.0, self._not_before - time.monotonic())
        return self.waiting.tracker.seconds_until_due(time.monotonic())

    def _recorded(self, claims: Sequence[str]) -> set[str]:
        found: set[str] = set()
        for start in range(0, len(claims), 500):
            with self._database.reading() as session:
                found |= known_claims(session, claims[start : start + 500])
        return found

    def _finish_copy(self, claim: str) -> bool:
        """As `Processing.finish_copy`; of an archive that is half recorded nothing is given back."""
        with self._database.reading() as session:
            return not opened_claims(session, [claim]) and Processing(self._settings).finish_copy(claim)

    def _chunk(self) -> Iterator[Incoming]:
        """Read the next claimed files; those that are still being written wait, those that are gone are dropped."""
        size = count = 0
        for claim, look in list(self._unrecorded.items()):
            found = self._custody.file_of(claim)
            if found is None:
                self._custody.forget(claim)
                self._drop(claim)
                continue
            path, relative = found
            try:
                before = Look.at(path)
                if count and (size + before.size > CHUNK_BYTES or count >= min(self._at_once, CHUNK_FILES)):
                    return
                problem: RejectedImage | None = self._refused.get(claim)
                data, beginning = None, b""
                if problem is None:
                    data, beginning, problem = self._read(path, before.size)
                after = Look.at(path)
            except FileNotFoundError:
                continue  # taken away meanwhile; the next round drops it
            if after != before or (look is not None and after != look):
                # Its writer still has it open and went on after a long pause; a rename does not stop it.
                if self._custody.let_go(claim):
                    self._drop(claim)
                    continue
                self._unrecorded[claim] = after
                self._no_archives.discard(claim)
                self._not_before = time.monotonic() + self._settings.settle_seconds
                continue
            name = relative.as_posix()
            if name.lower().endswith(".json"):
                problem = UnsupportedFormat(ALONE)
            size, count = size + after.size, count + 1
            yield Incoming(
                name=name,
                data=data,
                size=after.size,
                claim=claim,
                came_with=self._folders.came_with(relative),
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
            if error.errno in _AWAY:
                raise Unavailable(f"The inbox's share does not answer: {error.strerror}.") from error
            return None, b"", UnreadableImage(f"The file cannot be read: {error.strerror}.")


def put_away(custody: Custody, settled: Settled) -> None:
    """Let a file whose work has ended leave, with the reason where it failed.

    Raises:
        OSError: It could not be moved; it is where it was.
    """
    reasons = settled.reasons
    answer = (lambda target: write_reason(target, reasons)) if reasons else None
    custody.put_away(settled.claim, failed=bool(reasons), answer=answer)
