"""`fracture-queue cancel`."""

from __future__ import annotations

import click

from cli.environment import actor_here, installation_here
from cli.parameters import ROW_ID
from core import orders
from core.words import counted


@click.command()
@click.argument("ids", nargs=-1, type=ROW_ID, metavar="[ID]...")
@click.option("--submission", type=ROW_ID, metavar="NUMBER", help="What came in with this submission and no other.")
@click.option("--failed", is_flag=True, help="What failed for a passing cause and waits to be tried again.")
@click.option("--error", "code", metavar="CODE", help="What waits to be tried again after this error code.")
@click.option("--all", "everything", is_flag=True, help="Everything that waits.")
def cancel(ids: tuple[int, ...], submission: int | None, failed: bool, code: str | None, everything: bool) -> None:
    """Take waiting work back, by radiograph ID, by submission, by cause, or all of it. What runs is finished.

    Example: fracture-queue cancel --submission 12
    """
    if bool(ids) + (submission is not None) + failed + (code is not None) + everything != 1:
        raise click.UsageError("Give radiograph IDs, or --submission NUMBER, --failed, --error CODE or --all.")
    _, database = installation_here()
    jobs = orders.cancel(
        database, actor=actor_here(), radiograph_ids=ids or None, submission=submission, failed=failed, code=code
    )
    click.echo(f"{counted(jobs, 'job was', 'jobs were')} cancelled.")
    if ids and not jobs:
        raise SystemExit(1)
