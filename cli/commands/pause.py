"""`fracture-queue pause`."""

from __future__ import annotations

import click

from cli.environment import actor_here, installation_here
from core import orders
from core.records.controls import INTAKE, LONGEST_HOST, LONGEST_NOTE, WORKERS


@click.command()
@click.argument("target", type=click.Choice([INTAKE, WORKERS]))
@click.option("--host", metavar="NAME", help="Of workers: only those of this machine, as `queue` names it.")
@click.option("--note", default="", help="Why, for whoever wonders.")
def pause(target: str, host: str | None, note: str) -> None:
    """Pause the intake (inbox and uploads) or the workers, until `resume`, across restarts.

    A worker finishes what it holds. A machine on which no worker was heard of lately is refused.

    Example: fracture-queue pause intake --note "moving the disk"
    """
    if host is not None and (target == INTAKE or not 0 < len(host) <= LONGEST_HOST):
        raise click.UsageError("--host NAME belongs to workers only.")
    _, database = installation_here()
    changed = orders.pause(database, target, actor=actor_here(), host=host, note=note[:LONGEST_NOTE])
    click.echo("Paused." if changed else "That was paused already.")
