"""The database as it was at one moment, as a SQLite file: whichever kind it is, it can be restored onto either."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from core.backup.rows import copy_rows, one_moment
from core.database import Database, sqlite_file, translated
from core.errors import DatabaseUnavailable
from core.records.counters import recount
from core.schema import check_schema, migrate
from core.settings import sqlite_url


def take_snapshot(database: Database, target: Path) -> None:
    """Write the database as it is now to a new SQLite file, while others go on writing.

    Raises:
        SchemaMismatch: The database is of another revision.
        DatabaseUnavailable: It is away or damaged, or the file cannot be written.
    """
    check_schema(database)
    source = sqlite_file(database.url)
    if source is not None:
        _copy_sqlite(source, target)
        return
    copy = Database(sqlite_url(target), synced=False)
    try:
        migrate(copy)
        with translated(), one_moment(database.engine) as rows, copy.engine.begin() as written:
            copy_rows(rows, written)
        with copy.transaction() as session:
            recount(session)
    finally:
        copy.dispose()


def make_one_file(file: Path) -> None:
    """Write what SQLite keeps beside a database that nobody uses into its file, and that to the disk."""
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    for beside in ("-wal", "-shm", ".migrate.lock"):
        file.with_name(file.name + beside).unlink(missing_ok=True)
    with file.open("rb") as stream:
        os.fsync(stream.fileno())


def _copy_sqlite(source: Path, target: Path) -> None:
    """Copy in one step: that reads one moment, and in WAL mode writers do not wait for readers."""
    try:
        with closing(sqlite3.connect(source)) as original, closing(sqlite3.connect(target)) as copy:
            original.backup(copy)
            found = [str(row[0]) for row in copy.execute("PRAGMA quick_check(1)")]
    except sqlite3.Error as error:
        raise DatabaseUnavailable(f"The database cannot be copied: {error}.") from error
    if found != ["ok"]:
        raise DatabaseUnavailable("The database file is damaged, so it makes no backup; go back to an earlier one.")
