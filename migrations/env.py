"""Alembic's entry point: runs on the connection that `core.schema.migrate` opened."""

from __future__ import annotations

import os

from alembic import context

from core.database import Database
from core.settings import Settings
from core.tables import Base

connection = context.config.attributes.get("connection")


def run(on: object) -> None:
    """Run the steps on an open connection."""
    # Batch mode: SQLite changes most things only by copying a table.
    context.configure(connection=on, target_metadata=Base.metadata, render_as_batch=True, compare_type=True)  # type: ignore[arg-type]
    with context.begin_transaction():
        context.run_migrations()


if connection is not None:
    run(connection)
else:  # the `alembic` command itself, for writing a new revision
    with Database(Settings.from_env(os.environ).database_url).engine.begin() as opened:
        run(opened)
