"""The folders of an installation."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.database import Database
from core.errors import ConfigurationError, Unavailable
from core.locks import held_alone
from core.schema import check_schema
from core.settings import Settings

#: A disk that is full, a share that is away: passing, so that a supervisor starts the role again instead of giving up.
_PASSING = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE)


def prepare_home(settings: Settings) -> None:
    """Make all folders that are missing; those in which nobody else has business for this user alone.

    Whoever wants a group to read the originals changes the folder's mode: one that is there is left as it is.

    Raises:
        ConfigurationError: One cannot be made or written.
        Unavailable: Likewise, but only for the moment.
    """
    folders = [settings.home, settings.inbox, settings.processing, settings.done, settings.failed, settings.logs]
    private = {settings.processing, settings.logs, settings.store_path}
    if settings.inbox_read_only:
        folders.remove(settings.inbox)
        _need_readable(settings.inbox)
    if settings.store_path is not None:
        folders.append(settings.store_path)
    for folder in folders:
        try:
            folder.mkdir(mode=0o700 if folder in private else 0o777, parents=True, exist_ok=True)
            probe = folder / f".writable-{secrets.token_hex(4)}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            kind = Unavailable if error.errno in _PASSING else ConfigurationError
            words = f"The folder {folder} cannot be made or written: {error.strerror}."
            if folder == settings.inbox and folder.is_dir() and error.errno not in _PASSING:
                words += " FRACTURE_INBOX_READ_ONLY=1 takes files from it and leaves them where they are."
            raise kind(words) from error


def _need_readable(inbox: Path) -> None:
    """Refuse an inbox that is only to be read and cannot be."""
    try:
        with os.scandir(inbox):
            pass
    except OSError as error:
        raise ConfigurationError(
            f"The inbox {inbox} cannot be read: {error.strerror}. With FRACTURE_INBOX_READ_ONLY it is not made."
        ) from error


def prepare_runtime(folder: Path) -> None:
    """Make the short folder for sockets, for this user alone.

    Raises:
        ConfigurationError: It belongs to somebody else, or others may write it.
    """
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise ConfigurationError(f"The folder {folder} cannot be made: {error.strerror}.") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise ConfigurationError(f"The folder {folder} is not this user's alone; remove it or change its mode to 700.")


@contextmanager
def only_one(settings: Settings) -> Iterator[None]:
    """Hold the home folder's lock; it goes with the process, however that ends.

    Raises:
        ConfigurationError: Another process holds it.
    """
    home = settings.home
    with held_alone(
        home / "up.lock",
        lambda process: ConfigurationError(f"`fracture-queue up` already runs in {home} (process {process})."),
    ):
        yield


def open_installation(settings: Settings) -> Database:
    """Open the database of an installation that exists, for commands that only look or ask.

    Raises:
        ConfigurationError: There is no installation here.
        SchemaMismatch: Its tables are older or newer than this program.
    """
    database = Database(settings.database_url)
    if database.is_sqlite and not Path(str(database.url.database)).exists():
        raise ConfigurationError(
            f"There is no installation in {settings.home}; start one with `fracture-queue up`, or set FRACTURE_HOME."
        )
    check_schema(database)
    return database
