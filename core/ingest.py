"""The one path in: bytes from any door are examined, stored, recorded, and only then announced."""

from __future__ import annotations

import hashlib
import logging
import unicodedata
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from sqlalchemy.orm import Session

from core import images
from core.database import Database
from core.errors import BrokerUnavailable, ImageTooLarge, RejectedImage
from core.records.controls import refuse_paused_intake
from core.records.intake import Examined, Intake, Submission, continued, record_intake
from core.settings import Settings
from core.storage import FolderStore
from core.tables import Source

log = logging.getLogger(__name__)

#: Longest name that is kept; a file system allows 255 bytes for each part of a path.
_LONGEST_NAME = 1024
#: Originals that are written at once. Each waits for the disk, and a disk syncs several nearly as fast as one.
_EXAMINED_AT_ONCE = 8


@dataclass(frozen=True)
class Incoming:
    """One file at the door; nothing decided yet."""

    name: str  # as given
    data: bytes | None  # None: it was too large to be read
    size: int
    claim: str | None = None  # the inbox's folder below processing/
    problem: RejectedImage | None = None  # the door itself could not read it


class Ingest:
    """Examines, stores, records and announces. One per process; safe to call from several threads."""

    def __init__(
        self, settings: Settings, database: Database, store: FolderStore, announce: Callable[[int], None]
    ) -> None:
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
        files: Sequence[Incoming],
        *,
        also: Callable[[Session, Intake], None] | None = None,
    ) -> Intake:
        """Take files that came together. When this returns, originals and rows are safe.

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
        # By number, so that each thread reads its own file when it comes to it: `map` would read all of them at once.
        examined = list(self._side_by_side.map(lambda number: self._examine(files[number]), range(len(files))))
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

    def _examine(self, file: Incoming) -> Examined:
        name = displayable(file.name)
        digest = None if file.data is None else hashlib.sha256(file.data).hexdigest()
        try:
            if file.problem is not None:
                raise file.problem
            if file.data is None or file.size > self._settings.max_file_bytes:
                raise ImageTooLarge(
                    f"The file has {file.size / 2**20:.1f} MiB; at most {self._settings.max_file_bytes / 2**20:g} MiB "
                    "are accepted."
                )
            facts = images.inspect(file.data, max_pixels=self._settings.max_pixels)
        except RejectedImage as problem:
            return Examined(name=name, bytes=file.size, sha256=digest, problem=problem, claim=file.claim)
        key = self._store.put(file.data, digest or "")
        return Examined(name=name, bytes=file.size, sha256=digest, facts=facts, storage_key=key, claim=file.claim)


def displayable(name: str) -> str:
    """Make a given name safe to store and show: no control characters, no broken Unicode, bounded length."""
    shown = "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(c) in ("Cc", "Cf", "Cs") else c for c in name)
    return unicodedata.normalize("NFC", shown)[:_LONGEST_NAME] or "unnamed"
