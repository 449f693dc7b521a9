"""Connections and transactions. One context manager opens and closes each; driver errors become ours here.

SQLite: write-ahead log, a busy timeout, and two engines, one whose transactions begin as writers (`BEGIN IMMEDIATE`,
so that two writers queue instead of failing half-way) and one for reads, which never wait. PostgreSQL: one engine.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Insert, create_engine, event, func, insert, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, InterfaceError, NoSuchModuleError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from core.errors import ConfigurationError, DatabaseUnavailable
from core.tables import Base, table_of

#: A writer waits this long for another; measured: four processes that write without pause wait under a second.
SQLITE_BUSY_SECONDS = 30.0

#: Pages of 4 KiB in SQLite's write-ahead log from which a writer that does not wait for the disk tidies it up itself.
LONGEST_LOG_PAGES = 8_000

#: When a server that fell silent is given up, in libpq's words. By default a statement on its way waits for a quarter
#: of an hour, and whoever waits for an answer for two hours. An address may say otherwise (`?keepalives_idle=60`).
_PATIENCE = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,  # milliseconds
}


class Database:
    """The engines of one database. Make one per process; after a fork call `dispose`."""

    def __init__(self, url: str, *, synced: bool = True) -> None:
        """Prepare; nothing is opened yet.

        Args:
            url: SQLAlchemy address.
            synced: A commit is on the disk when `transaction` ends. Otherwise a power cut may undo the last moments,
                whole transactions at a time: for writers whose work is then simply done again.
        """
        self.url = parse_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        if self.is_sqlite:
            self._writes = _sqlite_engine(self.url, begin="BEGIN IMMEDIATE", synced=synced)
            self._reads = _sqlite_engine(self.url, begin="BEGIN", synced=synced)
        else:
            self._writes = self._reads = _postgresql_engine(self.url, synced=synced)

    @property
    def engine(self) -> Engine:
        """The engine for writes, for migrations."""
        return self._writes

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """Open a transaction that may write; commit at the end, roll back on any exception.

        Raises:
            DatabaseUnavailable: The database cannot be reached, is locked for too long, or its disk is full.
        """
        with translated(), Session(self._writes, expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Open a transaction that only reads.

        Raises:
            DatabaseUnavailable: As `transaction`.
        """
        with translated(), Session(self._reads, expire_on_commit=False) as session, session.begin():
            yield session

    def dispose(self) -> None:
        """Close all connections."""
        self._writes.dispose()
        self._reads.dispose()


def parse_url(text: str) -> URL:
    """Read a database address.

    Raises:
        ConfigurationError: It is no SQLAlchemy address, or names neither SQLite nor PostgreSQL.
    """
    try:
        url = make_url(text)
        backend = url.get_backend_name()
    except (ArgumentError, ValueError) as error:
        raise ConfigurationError(
            "FRACTURE_DATABASE_URL is no database address; use sqlite:////path/file.db or postgresql://user@host/name."
        ) from error
    if backend == "postgresql":
        return url.set(drivername="postgresql+psycopg")
    if backend == "sqlite":
        if not url.database or url.database == ":memory:":
            raise ConfigurationError("FRACTURE_DATABASE_URL names no file; several processes share the database.")
        return url
    raise ConfigurationError(f"FRACTURE_DATABASE_URL names {backend!r}; only sqlite and postgresql are supported.")


_CLOCK = select(func.clock_timestamp())


def now(session: Session) -> datetime:
    """Return the time by the database's clock, which judges leases: one clock for all workers."""
    if session.get_bind().dialect.name == "sqlite":
        return datetime.now(UTC)
    at: datetime = session.execute(_CLOCK).scalar_one()
    return at


def append(session: Session, table: type[Base], rows: list[dict[str, Any]]) -> None:
    """Insert rows that nobody reads back, without the bookkeeping that objects need; for what every batch writes."""
    if rows:
        session.execute(_inserting(table), rows)


def insert_ignoring(session: Session, table: type[Base], rows: list[dict[str, Any]]) -> None:
    """Insert rows; those that hit a unique key are left as they are."""
    if not rows:
        return
    session.execute(_inserting_unless_known(table, session.get_bind().dialect.name), rows)


@cache
def _inserting(table: type[Base]) -> Insert:
    return insert(table_of(table))


@cache
def _inserting_unless_known(table: type[Base], dialect: str) -> Insert:
    into = table_of(table)
    if dialect == "sqlite":
        return sqlite.insert(into).on_conflict_do_nothing()
    return postgresql.insert(into).on_conflict_do_nothing()


def sqlite_file(url: URL) -> Path | None:
    """Return the database's file, or None when it is no SQLite."""
    return Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None


def _postgresql_engine(url: URL, *, synced: bool) -> Engine:
    patience = {name: value for name, value in _PATIENCE.items() if name not in url.query}
    engine = create_engine(url, pool_pre_ping=True, pool_size=5, max_overflow=10, connect_args=patience)
    if synced:
        return engine

    @event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _record: Any) -> None:
        connection.execute("SET synchronous_commit = off")
        connection.commit()

    return engine


def _sqlite_engine(url: URL, *, begin: str, synced: bool) -> Engine:
    engine = create_engine(url, connect_args={"timeout": SQLITE_BUSY_SECONDS, "check_same_thread": False})

    @event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _record: Any) -> None:
        # The driver's own transaction handling begins late and as a reader; we say BEGIN ourselves.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        if not synced:
            # Whose commit finds the log this long writes it into the database, and waits for the disk. Rather those
            # who wait for it anyway: doors, from the usual 1,000 pages on. This is a bound for where none is open.
            cursor.execute(f"PRAGMA wal_autocheckpoint = {LONGEST_LOG_PAGES}")
        # FULL: an acknowledged upload survives a power cut. NORMAL keeps the file sound, but not the last commits.
        cursor.execute(f"PRAGMA synchronous = {'FULL' if synced else 'NORMAL'}")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


@contextmanager
def translated() -> Iterator[None]:
    """Turn what the driver raises when the database is away into our errors."""
    try:
        yield
    except NoSuchModuleError as error:
        raise ConfigurationError(f"FRACTURE_DATABASE_URL cannot be used: {error}.") from error
    except (OperationalError, InterfaceError, PoolTimeout) as error:
        raise _away(error) from error
    except DatabaseError as error:
        # Of the class itself are damage ("file is not a database") and nothing else; its subclasses are bugs of ours.
        if type(error) is not DatabaseError:
            raise
        raise _away(error) from error


def _away(error: Exception) -> DatabaseUnavailable:
    cause = str(getattr(error, "orig", None) or error).strip().splitlines()[0].rstrip(".")
    return DatabaseUnavailable(f"The database does not answer: {cause}.")
