"""Bring the database's tables to this program's revision, and refuse to work on any other.

The steps are Alembic's, in `migrations/`; this module finds them by path and imports nothing from there.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.exc import InterfaceError, OperationalError

from core.database import Database, sqlite_file
from core.errors import DatabaseUnavailable, SchemaMismatch

MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"
#: Any number that nothing else in the same database uses as an advisory lock.
_ADVISORY_LOCK = 0x46524143


def expected_revision() -> str:
    """Return the newest revision that this program knows."""
    revision = ScriptDirectory(str(MIGRATIONS)).get_current_head()
    if revision is None:
        raise SchemaMismatch(f"There are no migrations in {MIGRATIONS}.")
    return revision


def found_revision(database: Database) -> str | None:
    """Return the database's revision, or None for a database without tables.

    Raises:
        DatabaseUnavailable: The database cannot be reached.
    """
    file = sqlite_file(database.url)
    if file is not None and not file.exists():
        return None  # connecting would create it
    with database.reading() as session:
        return MigrationContext.configure(session.connection()).get_current_revision()


def check_schema(database: Database) -> None:
    """Refuse a database of another revision.

    Raises:
        SchemaMismatch: Names both revisions.
        DatabaseUnavailable: The database cannot be reached.
    """
    expected, found = expected_revision(), found_revision(database)
    if found is None:
        raise SchemaMismatch("The database has no tables yet; run `fracture-queue migrate`.")
    if found != expected:
        advice = "run `fracture-queue migrate`" if is_known(found) else "it belongs to a newer program"
        raise SchemaMismatch(f"The database is at revision {found}, this program at {expected}: {advice}.")


def migrate(database: Database) -> tuple[str | None, str]:
    """Upgrade to this program's revision; two at once wait for each other, and the second finds nothing to do.

    Returns:
        The revision before (None: no tables) and after.

    Raises:
        SchemaMismatch: The database belongs to a newer program.
        DatabaseUnavailable: The database cannot be reached.
    """
    file = sqlite_file(database.url)
    if file is not None:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            # Radiographs' names and passwords' hashes are for this user alone; SQLite's own files get the same mode.
            os.close(os.open(file, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            raise DatabaseUnavailable(f"The database {file} cannot be made: {error.strerror}.") from error
    with _lock(database):
        before = found_revision(database)
        if before != expected_revision():
            config = Config()
            config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
            if before is not None:
                _refuse_newer(before)
            try:
                with database.engine.begin() as connection:
                    config.attributes["connection"] = connection
                    command.upgrade(config, "head")
            except (OperationalError, InterfaceError) as error:
                raise DatabaseUnavailable(f"The database could not be migrated: {error.orig}.") from error
    return before, expected_revision()


def is_known(revision: str) -> bool:
    """Whether this program can bring tables of a revision up to its own."""
    return revision in {script.revision for script in ScriptDirectory(str(MIGRATIONS)).walk_revisions()}


def _refuse_newer(revision: str) -> None:
    if not is_known(revision):
        raise SchemaMismatch(
            f"The database is at revision {revision}, this program at {expected_revision()}: "
            "it belongs to a newer program."
        )


@contextmanager
def _lock(database: Database) -> Iterator[None]:
    """Hold the migration lock: a file beside SQLite's database, an advisory lock in PostgreSQL (alembic#633)."""
    file = sqlite_file(database.url)
    if file is not None:
        try:
            lock = file.with_name(file.name + ".migrate.lock").open("w")
        except OSError as error:
            raise DatabaseUnavailable(
                f"The database's folder {file.parent} cannot be written: {error.strerror}."
            ) from error
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        return
    try:
        connection = database.engine.connect()
    except (OperationalError, InterfaceError) as error:
        cause = str(error.orig).strip().splitlines()[0].rstrip(".")
        raise DatabaseUnavailable(f"The database does not answer: {cause}.") from error
    with connection.execution_options(isolation_level="AUTOCOMMIT"):
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _ADVISORY_LOCK})
        try:
            yield
        finally:
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _ADVISORY_LOCK})
