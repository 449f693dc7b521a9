"""`fracture-queue retry`."""

from __future__ import annotations

import click

from cli.environment import actor_here, installation_here
from cli.parameters import ROW_ID
from core import orders
from core.announce import announcer
from core.words import counted


@click.command()
@click.argument("ids", nargs=-1, type=ROW_ID, metavar="[ID]...")
@click.option("--failed", is_flag=True, help="Everything that failed, was quarantined or cancelled.")
@click.option("--error", "code", metavar="CODE", help="Everything that ended with this error code, or pauses for it.")
def retry(ids: tuple[int, ...], failed: bool, code: str | None) -> None:
    """Send work that failed back to the queue, by radiograph ID, by error code, or all of it.

    Example: fracture-queue retry --error store-unavailable
    """
    if bool(ids) + failed + (code is not None) != 1:
        raise click.UsageError("Give radiograph IDs, or --failed, or --error CODE.")
    settings, database = installation_here()
    announce = announcer(settings, database)
    jobs = orders.retry(database, announce, actor=actor_here(), radiograph_ids=ids or None, code=code)
    click.echo(f"{counted(jobs, 'job waits', 'jobs wait')} again.")
    if ids and not jobs:
        raise SystemExit(1)
