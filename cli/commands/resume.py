"""`fracture-queue resume`."""

from __future__ import annotations

import click

from cli.environment import actor_here, installation_here
from core import orders
from core.announce import announcer
from core.records.controls import INTAKE, WORKERS


@click.command()
@click.argument("target", type=click.Choice([INTAKE, WORKERS]))
@click.option("--host", metavar="NAME", help="Of workers: only those of this machine; else all.")
def resume(target: str, host: str | None) -> None:
    """End a pause of the intake or of workers."""
    if host is not None and target == INTAKE:
        raise click.UsageError("--host NAME belongs to workers only.")
    settings, database = installation_here()
    changed = orders.resume(database, announcer(settings, database), target, actor=actor_here(), host=host)
    click.echo("Resumed." if changed else "That was not paused.")
