"""Archives in the inbox: each file in one is an arrival, and the archive leaves when all of them have ended.

    inbox/A.zip -> processing/CLAIM/A.zip -> arrivals CLAIM.1, CLAIM.2, ... -> done/A.zip and A.zip.SUMMARY.csv

An arrival's claim is unique, so that after a crash in the middle the archive is read anew and only what has no arrival
yet is recorded. Nothing else has to be remembered: an archive that still lies in `processing/` is not finished.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from core.archives import is_archive, limits_of, members, survey
from core.database import Database
from core.errors import StoreUnavailable
from core.ingest import BEGINNING, Incoming, Ingest, displayable
from core.records.intake import Submission
from core.records.settling import latest_settled, members_of, unsettled_members
from core.records.summaries import SummaryRow, arrivals_with
from core.settings import Settings
from core.words import none_usable
from worker.custody import Custody
from worker.moving import write_reason
from worker.sidecars import Sidecar
from worker.summaries import summary_of, write_summary

log = logging.getLogger(__name__)


class Archives:
    """The archives of one inbox that have been taken and have not ended."""

    def __init__(
        self, settings: Settings, database: Database, ingest: Ingest, custody: Custody, chunk: tuple[int, int]
    ) -> None:
        """Keep the parts; `chunk`: most files, and most bytes, that are recorded at once."""
        self._settings, self._database, self._ingest, self._custody = settings, database, ingest, custody
        self._most_files, self._most_bytes = chunk
        self._recorded: set[str] = set()  # claims of which every file has an arrival

    def is_one(self, path: Path) -> bool:
        """Whether a file is an archive.

        Raises:
            OSError: It cannot be read.
        """
        with path.open("rb") as stream:
            return is_archive(stream.read(BEGINNING))

    def is_finished(self, claim: str, relative: Path) -> bool:
        """Whether an archive that stays where it is was recorded and answered by an earlier process.

        Raises:
            DatabaseUnavailable: Then nothing is known.
        """
        with self._database.reading() as session:
            came, settled = latest_settled(session, claim)
        if not came or settled is None:
            return False
        for folder in (self._settings.done, self._settings.failed):
            with suppress(OSError):
                if summary_of(folder / relative).stat().st_mtime >= settled.timestamp():
                    return True
        return False

    def record(self, claim: str, path: Path, submission: Submission, label: Sidecar) -> int:
        """Record the files of an archive that have no arrival yet; return how many.

        Args:
            claim: Its folder below `processing/`.
            path: The archive.
            submission: What its files belong to, with its folders as tags.
            label: Its sidecar; of an archive with DICOM, folders are no tags, as they may be patients' names.

        Raises:
            Unavailable: Some are recorded, the others not; call again.
            RejectedImage: The archive as a whole cannot be used, and nothing of it was recorded.
            OSError: It cannot be read.
        """
        limits = limits_of(self._settings)
        with path.open("rb") as stream:
            contents = survey(stream, limits)
            with self._database.reading() as session:
                known, submission_id = members_of(session, claim)
            self._ask_for_room(path)
            if contents.with_dicom and not self._settings.keep_identifiers:
                submission = replace(submission, tags=label.tags)
            if submission_id is not None:
                submission = replace(submission, continues=submission_id)
            elif not contents.with_dicom and not submission.name:
                submission = replace(submission, name=displayable(path.name)[:200])
            taken = 0
            for chunk in self._chunks(_numbered(members(stream, limits), claim, known), contents.with_dicom):
                intake = self._ingest.take(submission, chunk)
                submission = replace(submission, continues=intake.arrivals[0].submission_id)
                taken += len(chunk)
        if contents.ignored:
            log.info("An archive held %d hidden files, which are left out.", contents.ignored)
        self._recorded.add(claim)
        return taken

    def settle(self) -> int:
        """Put archives away whose files have all ended; return how many.

        Raises:
            DatabaseUnavailable: They are put away later.
            OSError: One cannot be moved; it is tried again.
        """
        moved = 0
        for claim in sorted(self._recorded):
            with self._database.reading() as session:
                if unsettled_members(session, claim):
                    continue
                rows = arrivals_with(session, claim)
            good = any(row.good for row in rows)
            self._custody.put_away(
                claim, failed=not good, answer=partial(write_summary if good else _explain, rows=rows)
            )
            self._custody.forget(claim)
            self._recorded.discard(claim)
            moved += 1
        return moved

    def _ask_for_room(self, path: Path) -> None:
        """Refuse to begin where the store's disk has no room for even the packed files; it is tried again."""
        store = self._settings.store_path
        if store is not None and shutil.disk_usage(store).free < path.stat().st_size:
            raise StoreUnavailable("The store's disk has no room for the files of an archive.")

    def _chunks(self, files: Iterator[Incoming], private: bool) -> Iterator[list[Incoming]]:
        chunk: list[Incoming] = []
        size = 0
        for file in files:
            chunk.append(replace(file, private=private))
            size += len(file.data or b"")
            if len(chunk) == self._most_files or size >= self._most_bytes:
                yield chunk
                chunk, size = [], 0
        if chunk:
            yield chunk


def _explain(target: Path, rows: Sequence[SummaryRow]) -> Path:
    summary = write_summary(target, rows)
    return write_reason(target, (f"{none_usable(len(rows))}; {summary.name} says why.",))


def _numbered(files: Iterator[Incoming], claim: str, known: set[str]) -> Iterator[Incoming]:
    """Give each file the claim of its place in the archive, and leave out those that have an arrival."""
    for number, file in enumerate(files, 1):
        own = f"{claim}.{number}"
        if own not in known:
            yield replace(file, claim=own, came_with=claim)
