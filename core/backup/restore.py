"""Fill an empty installation from a backup, on the same kind of database or the other.

Files come first and the database last, in one step: an interrupted restore leaves an installation that is still empty,
and can be done again.
"""

from __future__ import annotations

import fcntl
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import delete, inspect, text, update

from core.backup.files import copy_bundles, copy_keys, copy_originals
from core.backup.make import KEYS, LOCK, MODELS, STORE
from core.backup.manifest import Manifest
from core.backup.rows import copy_rows, empty_tables, one_moment
from core.backup.snapshot import make_one_file
from core.bundle import sha256_of
from core.database import Database, now, sqlite_file, translated
from core.errors import BackupRefused, StoreUnavailable
from core.home import prepare_home
from core.records.counters import recount
from core.records.events import Event, record_events
from core.records.workers import living
from core.schema import expected_revision, found_revision, is_known, migrate
from core.settings import Settings, sqlite_url
from core.storage import FolderStore, sync_folder
from core.store import open_store
from core.tables import JobRow, JobStatus, WorkerRow
from core.words import counted

#: What came in and who may come in: where one of these has rows, somebody would miss them.
_FILLED = ("radiographs", "arrivals", "users")


@dataclass(frozen=True)
class Restored:
    """What a restore did."""

    manifest: Manifest
    missing: int  # originals that the backup names and does not hold
    notes: tuple[str, ...]  # sentences about what was left as it was


def restore_backup(
    settings: Settings, database: Database, folder: Path, actor: str, tell: Callable[[str], None]
) -> Restored:
    """Restore a backup into this installation, which has to be empty and at rest.

    Args:
        settings: The installation.
        database: Its database, which may have no tables yet.
        folder: The backup.
        actor: Who restores, for the audit trail.
        tell: Is told in a sentence what goes on.

    Raises:
        BackupRefused: There is no whole backup, it is damaged or of a newer program, or the installation is in use.
        Unavailable: A part of the installation cannot be reached or written.
    """
    manifest = Manifest.read(folder)
    if not is_known(manifest.revision):
        raise BackupRefused(
            f"The backup's tables are at revision {manifest.revision}, this program's at {expected_revision()}: "
            "the backup belongs to a newer program."
        )
    prepare_home(settings)
    _refuse_filled(settings, database)
    try:
        with _held(folder), _scratch(settings, database) as scratch:
            return _restore(settings, database, folder, manifest, scratch, actor, tell)
    except OSError as error:
        raise StoreUnavailable(f"The backup cannot be restored: {error.strerror}.") from error


def _restore(
    settings: Settings,
    database: Database,
    folder: Path,
    manifest: Manifest,
    scratch: Path,
    actor: str,
    tell: Callable[[str], None],
) -> Restored:
    tell("Checking the backup ...")
    copy = scratch / "snapshot.db"
    try:
        shutil.copyfile(folder / manifest.snapshot, copy)
        copy.chmod(0o600)  # as `migrate` makes it
    except FileNotFoundError:
        raise BackupRefused(f"The backup is damaged: {manifest.snapshot} is missing.") from None
    if sha256_of(copy) != manifest.snapshot_sha256:
        raise BackupRefused(f"The backup is damaged: {manifest.snapshot} is not what the manifest says.")
    snapshot = Database(sqlite_url(copy), synced=False)
    try:
        migrate(snapshot)
        _set_at_rest(snapshot, manifest, actor)
        tell("Copying originals ...")
        store = open_store(settings)
        store.reach()
        copied = copy_originals(snapshot, FolderStore(folder / STORE), store)
        tell("Copying models and keys ...")
        notes = _copy_bundles(folder / MODELS, settings)
        copy_keys(folder / KEYS, settings.home)
        tell("Filling the database ...")
        if not database.is_sqlite:
            _fill(database, snapshot)
    finally:
        snapshot.dispose()
    if (file := sqlite_file(database.url)) is not None:
        make_one_file(copy)
        database.dispose()
        _replace(file, copy)
    return Restored(manifest, len(copied.missing), tuple(notes))


def _refuse_filled(settings: Settings, database: Database) -> None:
    """Refuse to restore over what somebody would miss, or under processes that are at work."""
    file = sqlite_file(database.url)
    if file is not None and not file.exists():
        return
    with translated(), database.engine.connect() as connection:
        there = set(inspect(connection).get_table_names())
        filled = [
            table
            for table in _FILLED
            if table in there and connection.scalar(text(f"SELECT 1 FROM {table} LIMIT 1"))  # noqa: S608 - constants
        ]
    if filled:
        raise BackupRefused(
            f"The database already holds {' and '.join(filled)}. Restore into an empty one: another FRACTURE_HOME or "
            "FRACTURE_DATABASE_URL."
        )
    if found_revision(database) == expected_revision():
        with database.reading() as session:
            alive = [
                row.name
                for role in ("worker", "inbox", "dicom")
                for row in living(session, role=role, within_seconds=2 * settings.lease_seconds)
            ]
        if alive:
            raise BackupRefused(
                f"Of this installation {counted(len(alive), 'process is', 'processes are')} at work; stop all first."
            )


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Wait for no backup into the same folder, and let none begin."""
    lock_file = folder / LOCK
    if not lock_file.exists():  # copied elsewhere without it
        yield
        return
    with lock_file.open("rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            raise BackupRefused(f"A backup is being made in {folder}; wait for its end.") from error
        yield


@contextmanager
def _scratch(settings: Settings, database: Database) -> Iterator[Path]:
    """Make a folder beside the database, so that the last step is a rename."""
    file = sqlite_file(database.url)
    place = settings.home if file is None else file.parent
    folder = place / f".restoring-{secrets.token_hex(8)}"
    folder.mkdir(parents=True, mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _set_at_rest(snapshot: Database, manifest: Manifest, actor: str) -> None:
    """Nothing runs and nothing is announced any more: what was in hand waits, as after a polite stop."""
    with snapshot.transaction() as session:
        session.execute(
            update(JobRow)
            .where(JobRow.status == JobStatus.RUNNING)
            .values(status=JobStatus.WAITING, attempts=JobRow.attempts - 1, lease_token=None, lease_until=None)
        )
        session.execute(update(JobRow).where(JobRow.status == JobStatus.WAITING).values(rung_at=None))
        session.execute(delete(WorkerRow))
        detail = {"made_at": manifest.made_at}
        record_events(session, now(session), [Event(kind="restored", actor=actor, detail=detail)])
    with snapshot.transaction() as session:
        recount(session)


def _copy_bundles(source: Path, settings: Settings) -> list[str]:
    try:
        _, differing = copy_bundles(source, settings.models)
    except OSError as error:
        return [
            f"The models of the backup cannot be written to {settings.models}: {error.strerror}. They lie in {source}; "
            "FRACTURE_MODELS may name that folder."
        ]
    return [f"The model {name} differs from the one in the backup and was left as it is." for name in differing]


def _fill(database: Database, snapshot: Database) -> None:
    """Copy all rows, in one transaction."""
    migrate(database)
    with translated(), one_moment(snapshot.engine) as rows, database.engine.begin() as target:
        empty_tables(target)
        copy_rows(rows, target)
    with database.transaction() as session:
        recount(session)


def _replace(file: Path, copy: Path) -> None:
    """Put the snapshot in the place of a database without rows that matter; what SQLite kept beside it goes first."""
    for beside in ("-wal", "-shm"):
        file.with_name(file.name + beside).unlink(missing_ok=True)
    copy.replace(file)
    sync_folder(file.parent)
