"""The one path in: bytes from any door are examined, stored, recorded, and only then announced."""

from __future__ import annotations

import hashlib
import logging
import unicodedata
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property

from sqlalchemy.orm import Session

from core import images
from core.database import Database
from core.dicom.signs import may_be_dicom
from core.errors import BrokerUnavailable, ImageTooLarge, RejectedImage
from core.pseudonyms import Pseudonyms
from core.records.controls import refuse_paused_intake
from core.records.intake import Examined, Intake, Stored, Submission, continued, record_intake
from core.settings import Settings
from core.store import Store
from core.tables import Source

log = logging.getLogger(__name__)

#: Longest name that is kept; a file system allows 255 bytes for each part of a path.
_LONGEST_NAME = 1024
#: Bytes that tell what a file is.
BEGINNING = 512
#: Originals that are written at once. Each waits for the disk, and a disk syncs several nearly as fast as one.
_EXAMINED_AT_ONCE = 8


@dataclass(frozen=True)
class Incoming:
    """One file at the door; nothing decided yet."""

    name: str  # as given
    data: bytes | None  # None: it was too large to be read
    size: int
    claim: str | None = None  # the inbox's folder below processing/
    came_with: str | None = None  # the inbox's archive or folder that it came in
    problem: RejectedImage | None = None  # the door itself could not read it
    private: bool = False  # its name may be a patient's, whatever the file itself is: it came with DICOM
    beginning: bytes = b""  # of one that was not read: the first `BEGINNING` bytes, which tell DICOM


class Ingest:
    """Examines, stores, records and announces. One per process; safe to call from several threads."""

    def __init__(self, settings: Settings, database: Database, store: Store, announce: Callable[[int], None]) -> None:
        """Keep the parts.

        Args:
            settings: Limits.
            database: Where rows go.
            store: Where originals go.
            announce: Rings for a number of new jobs; may raise `BrokerUnavailable`.
        """
        self._settings, self._database, self._store, self._announce = settings, database, store, announce
        self._side_by_side = ThreadPoolExecutor(_EXAMINED_AT_ONCE, thread_name_prefix="ingest")

    def take(
        self,
        submission: Submission,
        files: Iterable[Incoming],
        *,
        also: Callable[[Session, Intake], None] | None = None,
    ) -> Intake:
        """Take files that came together. When this returns, originals and rows are safe.

        Files are read one after the other, as they are needed.

        A broker that is away changes nothing: the work waits in the database and is announced later.

        Args:
            submission: What they have in common.
            files: Asked for one by one.
            also: Writes in the same transaction; what it raises undoes all.

        Raises:
            StoreUnavailable: An original could not be kept; nothing was recorded.
            DatabaseUnavailable: Likewise.
            NoActiveModel: Likewise.
            IntakePaused: Likewise.
            NotFound: The submission continues one that does not exist; likewise.
        """
        with self._database.reading() as session:  # asked before anything is stored that nobody would ever look for
            if submission.source is not Source.INBOX:  # whose process looks before it takes a file
                refuse_paused_intake(session)
            continued(session, submission)
        examined = list(self._examined(files))
        with self._database.transaction() as session:
            intake = record_intake(session, submission, examined)
            if also is not None:
                also(session, intake)
        if intake.new_jobs:
            try:
                self._announce(intake.new_jobs)
            except BrokerUnavailable as error:
                log.warning("%s %d new jobs wait in the database.", error, intake.new_jobs)
        return intake

    def _examined(self, files: Iterable[Incoming]) -> Iterator[Examined]:
        """Examine some at once, in their order; `map` would read all of them first."""
        under_way: deque[Future[Examined]] = deque()
        try:
            for file in files:
                under_way.append(self._side_by_side.submit(self._examine, file))
                if len(under_way) >= _EXAMINED_AT_ONCE:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:
            for future in under_way:
                future.cancel()

    def _examine(self, file: Incoming) -> Examined:
        name = self.stored_name(file.name, file.data or file.beginning, private=file.private)
        digest = None if file.data is None else hashlib.sha256(file.data).hexdigest()
        seen = Examined(name=name, bytes=file.size, sha256=digest, claim=file.claim, came_with=file.came_with)
        try:
            if file.problem is not None:
                raise file.problem
            if file.data is None or file.size > self._settings.max_file_bytes:
                raise too_large(file.size, self._settings)
            facts = images.inspect(file.data, max_pixels=self._settings.max_pixels)
        except RejectedImage as problem:
            return replace(seen, problem=problem)
        return self._keep(file.data, digest or "", replace(seen, facts=facts))

    def stored_name(self, name: str, beginning: bytes, *, private: bool = False) -> str:
        """Return a file's name as it is stored: of DICOM, which is often named after the patient, a keyed hash."""
        shown = displayable(name)
        return self.pseudonyms.file_name(shown) if self.hides(shown, beginning, private=private) else shown

    def hides(self, name: str, beginning: bytes, *, private: bool = False) -> bool:
        """Whether a file's name, and those of its folders, are not stored."""
        return not self._settings.keep_identifiers and (private or may_be_dicom(name, beginning))

    def _keep(self, data: bytes, digest: str, file: Examined) -> Examined:
        """Store an original; of DICOM what is left without the patient's name."""
        if file.facts is None or file.facts.dicom is None:
            return replace(file, storage_key=self._store.put(data, digest))
        from core.dicom import profile  # costs a quarter of a second, which installations without DICOM never pay

        if self._settings.keep_identifiers:
            patient = profile.patient_key_of(data, self.pseudonyms)
            return replace(file, storage_key=self._store.put(data, digest), patient_key=patient)
        try:
            left = profile.deidentified(data, self.pseudonyms)
        except RejectedImage as problem:
            return replace(file, facts=None, problem=problem)
        stored = Stored(hashlib.sha256(left.data).hexdigest(), len(left.data))
        key = self._store.put(left.data, stored.sha256)
        return replace(file, storage_key=key, stored=stored, patient_key=left.patient_key)

    @cached_property
    def pseudonyms(self) -> Pseudonyms:
        """What stands for names and numbers of patients."""
        return Pseudonyms.of(self._settings)


def too_large(size: int, settings: Settings) -> ImageTooLarge:
    """Say how large a file is, and how large it may be."""
    return ImageTooLarge(
        f"The file has {size / 2**20:.1f} MiB; at most {settings.max_file_bytes / 2**20:g} MiB are accepted."
    )


def displayable(name: str) -> str:
    """Make a given name safe to store and show: no control characters, no broken Unicode, bounded length."""
    shown = "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(c) in ("Cc", "Cf", "Cs") else c for c in name)
    return unicodedata.normalize("NFC", shown)[:_LONGEST_NAME] or "unnamed"
