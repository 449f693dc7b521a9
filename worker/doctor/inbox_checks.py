"""The inbox's checks: files in `processing/` that nobody will record or move on."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from core.file_systems import file_system_of
from core.ingest import Ingest
from core.records.settling import Settled, known_claims, long_ended, opened_claims, recorded_lately
from core.storage import SAFE_AGE_SECONDS
from worker.custody import Processing, file_below
from worker.doctor.ailments import Ailment, Check, Premises, mend_each
from worker.inbox import Inbox, put_away
from worker.moving import move_aside
from worker.sidecars import leave_with

#: The inbox process tries again after at most half a minute, and moves finished files within seconds.
_PATIENCE_SECONDS = 120.0
_CLAIM = re.compile(r"[0-9a-f]{16}")


def _examine_watching(premises: Premises) -> Ailment | None:
    settings = premises.settings
    lies_on = file_system_of(settings.inbox)
    if lies_on is None or not lies_on.is_shared or settings.inbox_polling:
        return None
    # Not broken: the timed scan finds every file, only later.
    return Ailment(
        f"The inbox lies on a file system of the kind {lies_on.kind}, which tells nothing of what other machines put "
        "there. Set FRACTURE_INBOX_POLLING=1 (docs/shares.md).",
        1,
        notice=True,
    )


def _examine_writing(premises: Premises) -> Ailment | None:
    settings = premises.settings
    lies_on = file_system_of(settings.inbox)
    if lies_on is None or not lies_on.read_only or settings.inbox_read_only:
        return None
    return Ailment(
        "The inbox lies on a file system that is mounted read-only, so that no file can be taken out of it. Set "
        "FRACTURE_INBOX_READ_ONLY=1, or mount it for writing (docs/shares.md).",
        1,
    )


def _examine_unrecorded(premises: Premises) -> Ailment | None:
    return Ailment.of(
        "file",
        "taken from the inbox, and recorded by nobody.",
        [*(_named(claim) for claim in _unrecorded(premises)), *("in processing/ itself" for _ in _loose(premises))],
        remedy="puts them back into the inbox, from which they are taken anew",
    )


def _put_back(premises: Premises) -> None:
    """Safe beside an inbox process that knows them: it drops a claim whose file is gone, and takes the file anew."""
    settings = premises.settings

    def put_back(claim: Path) -> None:
        with suppress(FileNotFoundError):  # another doctor was faster
            while (path := file_below(claim)) is not None:  # several where a person made the folder
                back = move_aside(path, settings.inbox, path.relative_to(claim))
                leave_with(claim, back, settings.failed, path.relative_to(claim))
        _remove_empty_tree(claim)

    def put_back_loose(path: Path) -> None:
        with suppress(FileNotFoundError):
            move_aside(path, settings.inbox, Path(path.name))

    mend_each(_unrecorded(premises), put_back)
    mend_each(_loose(premises), put_back_loose)


def _examine_leftover(premises: Premises) -> Ailment | None:
    return Ailment.of(
        "file",
        "still in processing/, although the work has ended.",
        [f"arrival {settled.arrival_id}" for settled in _leftover(premises)],
        remedy="moves them to done/ or failed/",
    )


def _move_on(premises: Premises) -> None:
    settings, database = premises.settings, premises.database
    custody = Processing(settings)
    for settled in _leftover(premises):
        with suppress(FileNotFoundError):
            put_away(custody, settled)
            custody.forget(settled.claim)
    Inbox(settings, database, Ingest(settings, database, premises.store, lambda _: None)).settle()


def _unrecorded(premises: Premises) -> list[Path]:
    # A large drop is taken at once and recorded piece by piece: while that goes on, waiting is healthy.
    busy = premises.has("inbox")
    if busy:
        with premises.database.reading() as session:
            busy = recorded_lately(session, within_seconds=_PATIENCE_SECONDS)
    patience = SAFE_AGE_SECONDS if busy else _PATIENCE_SECONDS
    found: list[Path] = []
    for claims in _claims(premises, older_than=patience):
        with premises.database.reading() as session:
            known = known_claims(session, claims)
            # Put back, an archive that is half recorded would come in twice; the inbox goes on with it.
            known |= opened_claims(session, [claim for claim in claims if claim not in known])
        found += [premises.settings.processing / claim for claim in claims if claim not in known]
    return [claim for claim in found if _is_quiet(file_below(claim), patience)]


def _named(claim: Path) -> str:
    """Name a claim; a folder that a person made may be called like a patient."""
    return f"processing/{claim.name}" if _CLAIM.fullmatch(claim.name) else "in a folder of processing/ that is no claim"


def _loose(premises: Premises) -> list[Path]:
    """Return files that a person put into `processing/` instead of into the inbox; nobody looks for them there."""
    with os.scandir(premises.settings.processing) as entries:
        files = sorted(Path(entry) for entry in entries if entry.is_file(follow_symlinks=False))
    return [path for path in files if not path.name.startswith(".") and _is_quiet(path, _PATIENCE_SECONDS)]


def _leftover(premises: Premises) -> list[Settled]:
    found: list[Settled] = []
    for claims in _claims(premises, older_than=_PATIENCE_SECONDS):
        with premises.database.reading() as session:
            found += long_ended(session, claims, for_seconds=_PATIENCE_SECONDS)
    return [settled for settled in found if file_below(premises.settings.processing / settled.claim) is not None]


def _claims(premises: Premises, *, older_than: float) -> Iterator[list[str]]:
    """Return the folders below `processing/` that were made so many seconds ago, some hundred at a time."""
    before = time.time() - older_than
    with os.scandir(premises.settings.processing) as entries:
        names = sorted(entry.name for entry in entries if entry.is_dir() and _made_before(entry, before))
    for start in range(0, len(names), 500):
        yield names[start : start + 500]


def _made_before(entry: os.DirEntry[str], moment: float) -> bool:
    try:
        return entry.stat().st_mtime < moment
    except OSError:
        return False  # moved on meanwhile


def _is_quiet(path: Path | None, seconds: float) -> bool:
    """Whether nobody goes on writing a file that was taken after a long pause; False when there is none."""
    try:
        return path is not None and path.stat().st_mtime < time.time() - seconds
    except OSError:
        return False


def _remove_empty_tree(folder: Path) -> None:
    for parent, _, _ in os.walk(folder, topdown=False):
        with suppress(OSError):
            Path(parent).rmdir()


INBOX_CHECKS = (
    Check("watching", _examine_watching),
    Check("writing", _examine_writing),
    Check("unrecorded files", _examine_unrecorded, _put_back),
    Check("finished files", _examine_leftover, _move_on),
)
