"""`fracture-queue priority`."""

from __future__ import annotations

import click

from cli.environment import actor_here, installation_here
from cli.parameters import ROW_ID
from core.records.priorities import HIGHEST, LOWEST, set_priority


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("submission", type=ROW_ID)
@click.argument("priority", type=click.IntRange(LOWEST, HIGHEST))
def priority(submission: int, priority: int) -> None:
    """Set how urgent a SUBMISSION is: higher goes first; uploads have 10, bulk work 0.

    Example: fracture-queue priority 12 20
    """
    _, database = installation_here()
    with database.transaction() as session:
        jobs = set_priority(session, submission, priority, actor=actor_here())
    click.echo(f"The priority of submission {submission} is {priority}; {jobs} of its jobs waited.")
