"""`fracture-queue migrate`."""

from __future__ import annotations

import click

from cli.environment import settings_here
from core.database import Database
from core.schema import migrate as migrate_schema


@click.command()
def migrate() -> None:
    """Bring the database's tables to this program's revision. Safe to run twice, also at the same time."""
    before, after = migrate_schema(Database(settings_here().database_url))
    if before == after:
        click.echo(f"The database is at revision {after} already.")
    else:
        click.echo(f"The database went from {before or 'no tables'} to revision {after}.")
