"""`fracture-queue inbox`."""

from __future__ import annotations

import click

from cli.environment import settings_here


@click.command()
def inbox() -> None:
    """Watch the inbox folder; `fracture-queue up` starts it for you."""
    from core.logs import configure_logging
    from worker.inbox_loop import run_inbox

    settings = settings_here()
    configure_logging("inbox", settings.log_format)
    run_inbox(settings)
