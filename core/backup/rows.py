"""Copy all rows from one database to another of either kind, table by table, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import JSON, Connection, Engine, Integer, MetaData, Table, func, insert, select, text
from sqlalchemy.types import TypeEngine

from core.tables import Base

_AT_ONCE = 1000
#: Triggers count what is written; copied as well, everything would count twice.
_COUNTED = "counters"


def copy_rows(source: Connection, target: Connection) -> None:
    """Copy every table's rows into empty tables.

    Args:
        source: A transaction that sees one moment.
        target: A transaction that may write; its kept counts are to be counted anew afterwards.
    """
    for table in _tables():
        for rows in _pages(source, table):
            target.execute(insert(table), rows)
        _set_sequence(target, table)


def empty_tables(target: Connection) -> None:
    """Delete all rows."""
    for table in reversed(_tables()):
        target.execute(table.delete())
    target.execute(text(f"DELETE FROM {_COUNTED}"))  # noqa: S608 - a constant


def count_rows(connection: Connection) -> dict[str, int]:
    """Return how many rows each table has."""
    return {table.name: connection.scalar(select(func.count()).select_from(table)) or 0 for table in _tables()}


def one_moment(engine: Engine) -> Connection:
    """Open a read-only transaction that sees one moment throughout; the caller closes it."""
    if engine.dialect.name == "sqlite":
        return engine.connect()
    return engine.connect().execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


def _tables() -> list[Table]:
    """Return the tables, those that others refer to first; empty values of JSON are copied as they are."""
    copied = MetaData()
    for table in Base.metadata.sorted_tables:
        table.to_metadata(copied)
    for table in copied.tables.values():
        for column in table.columns:
            if isinstance(column.type, JSON):
                column.type = JSON(none_as_null=True)
    return [table for table in copied.sorted_tables if table.name != _COUNTED]


def _pages(source: Connection, table: Table) -> Iterator[list[dict[str, Any]]]:
    query = select(table).order_by(*table.primary_key.columns)
    with source.execute(query, execution_options={"yield_per": _AT_ONCE}) as result:
        for rows in result.mappings().partitions(_AT_ONCE):
            yield [dict(row) for row in rows]


def _set_sequence(target: Connection, table: Table) -> None:
    """Let PostgreSQL number the next row after those that brought their numbers along."""
    column = table.autoincrement_column
    if target.dialect.name == "sqlite" or column is None or not _is_number(column.type):
        return
    largest = target.scalar(select(func.max(column)))
    sequence = target.scalar(select(func.pg_get_serial_sequence(table.name, column.name)))
    if sequence is not None and largest is not None:
        target.execute(select(func.setval(sequence, largest)))


def _is_number(kind: TypeEngine[Any]) -> bool:
    return isinstance(kind, Integer)
