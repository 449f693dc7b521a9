"""Make a backup while everything runs.

The snapshot of the database comes first, then the originals that it names: each was in the store before its row was
written, and never changes. A folder that holds an earlier backup gets what is new. The manifest comes last; until then
the earlier backup in the same folder stands.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from sqlalchemy import select, update

from core.backup.files import Copied, copy_bundles, copy_keys, copy_originals
from core.backup.manifest import FILE_NAME, Manifest
from core.backup.rows import count_rows
from core.backup.snapshot import make_one_file, take_snapshot
from core.bundle import sha256_of
from core.database import Database
from core.errors import BackupRefused, StoreUnavailable
from core.locks import held_alone
from core.records.upkeep import Original, known_contents
from core.schema import expected_revision
from core.settings import Settings, sqlite_url
from core.storage import FolderStore, sync_folder
from core.store import Store, open_store
from core.tables import RadiographRow

STORE, MODELS, KEYS, LOCK = "store", "models", "keys", ".lock"
_SNAPSHOTS = "snapshot-*.db"
_PAGE = 500


def make_backup(settings: Settings, database: Database, folder: Path, tell: Callable[[str], None]) -> Manifest:
    """Copy database, originals, model bundles and keys.

    Args:
        settings: The installation.
        database: Its database.
        folder: An empty or new folder, or one with earlier backups of the same installation.
        tell: Is told in a sentence what goes on.

    Raises:
        BackupRefused: The folder holds something else, or another backup is being made there.
        DatabaseUnavailable: The database cannot be read, or is damaged.
        StoreUnavailable: Originals cannot be read, or the folder is full or cannot be written.
    """
    store = open_store(settings)
    store.reach()  # one that is away must not look like one that lost everything
    try:
        _prepare(settings, folder)
        with _alone(folder):
            return _make(settings, database, store, folder, tell)
    except OSError as error:
        raise StoreUnavailable(f"The backup cannot be written to {folder}: {error.strerror}.") from error


def _make(settings: Settings, database: Database, store: Store, folder: Path, tell: Callable[[str], None]) -> Manifest:
    made_at = datetime.now(UTC)
    _remove_snapshots(folder, but=_standing(folder))
    file = folder / f"snapshot-{made_at:%Y%m%dT%H%M%S}-{secrets.token_hex(2)}.db"
    tell("Copying the database ...")
    os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    take_snapshot(database, file)
    snapshot = Database(sqlite_url(file), synced=False)
    try:
        tell("Copying originals ...")
        kept = FolderStore(folder / STORE)
        copied = copy_originals(snapshot, store, kept)
        lost = _note_deleted(database, snapshot, copied.missing)
        _forget_deleted(snapshot, kept)
        with snapshot.reading() as session:
            rows = count_rows(session.connection())
    finally:
        snapshot.dispose()
    make_one_file(file)
    tell("Copying models and keys ...")
    bundles, _ = copy_bundles(settings.models, _made(folder / MODELS))
    keys = copy_keys(settings.home, _made(folder / KEYS))
    manifest = _manifest(file, made_at, database, rows, copied, lost, bundles, keys)
    sync_folder(folder)
    manifest.write(folder)
    _remove_snapshots(folder, but=file.name)
    return manifest


def _manifest(
    file: Path,
    made_at: datetime,
    database: Database,
    rows: dict[str, int],
    copied: Copied,
    lost: Sequence[Original],
    bundles: list[str],
    keys: list[str],
) -> Manifest:
    return Manifest(
        made_at=made_at.isoformat(timespec="seconds"),
        program=version("fracture-queue"),
        revision=expected_revision(),
        database=database.url.get_backend_name(),
        snapshot=file.name,
        snapshot_sha256=sha256_of(file),
        snapshot_bytes=file.stat().st_size,
        rows=rows,
        originals=copied.files,
        original_bytes=copied.bytes,
        missing_originals=len(lost),
        bundles=bundles,
        keys=keys,
    )


def _prepare(settings: Settings, folder: Path) -> None:
    """Make the folder, for this user alone; refuse one that holds something else."""
    watched = (settings.inbox, settings.processing, settings.store_path)
    if any(place is not None and folder.is_relative_to(place) for place in watched):
        raise BackupRefused(f"{folder} lies in the inbox or in the store; give another folder.")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    ours = {FILE_NAME, STORE, MODELS, KEYS, LOCK}
    foreign = [
        path.name
        for path in folder.iterdir()
        if path.name not in ours and not path.match("snapshot-*.db*") and not path.name.startswith(f".{FILE_NAME}.")
    ]
    if foreign:
        raise BackupRefused(f"{folder} holds something else than backups; give an empty or a new folder.")
    folder.chmod(0o700)  # radiographs, passwords' hashes and keys will lie there


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with held_alone(folder / LOCK, lambda _process: BackupRefused(f"Another backup is being made in {folder}.")):
        yield


def _standing(folder: Path) -> str:
    """Return the snapshot of the backup that stands, so that an interrupted one's can be removed."""
    try:
        return Manifest.read(folder).snapshot
    except BackupRefused:
        return ""


def _remove_snapshots(folder: Path, *, but: str) -> None:
    for path in folder.glob(f"{_SNAPSHOTS}*"):
        if not but or not path.name.startswith(but):
            path.unlink(missing_ok=True)


def _made(folder: Path) -> Path:
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _note_deleted(database: Database, snapshot: Database, missing: Sequence[Original]) -> list[Original]:
    """Carry over what was deleted on purpose since the snapshot was taken; return the originals that are lost."""
    lost = []
    for start in range(0, len(missing), _PAGE):
        page = missing[start : start + _PAGE]
        query = select(RadiographRow.sha256, RadiographRow.original_deleted_at)
        chosen = RadiographRow.sha256.in_([original.sha256 for original in page])
        with database.reading() as session:
            deleted = dict(session.execute(query.where(chosen, RadiographRow.original_deleted_at.is_not(None))).all())
        with snapshot.transaction() as session:
            for sha256, at in deleted.items():
                same = RadiographRow.sha256 == sha256
                session.execute(update(RadiographRow).where(same).values(original_deleted_at=at))
        lost += [original for original in page if original.sha256 not in deleted]
    return lost


def _forget_deleted(snapshot: Database, kept: FolderStore) -> None:
    """Delete from the backup what was deleted on purpose from the installation."""
    after = 0
    while True:
        query = select(RadiographRow.id, RadiographRow.storage_key)
        chosen = query.where(RadiographRow.id > after, RadiographRow.original_deleted_at.is_not(None))
        with snapshot.reading() as session:
            page = session.execute(chosen.order_by(RadiographRow.id).limit(_PAGE)).all()
            needed = known_contents(session, [row.storage_key.rpartition("/")[2] for row in page])
        for row in page:
            if row.storage_key.rpartition("/")[2] not in needed:
                kept.path(row.storage_key).unlink(missing_ok=True)
        if len(page) < _PAGE:
            return
        after = page[-1].id
