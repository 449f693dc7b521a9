"""`fracture-queue beat`."""

from __future__ import annotations

import click

from cli.environment import settings_here


@click.command()
def beat() -> None:
    """Run the clock that has lost work looked for; `fracture-queue up` starts it for you. One is enough."""
    from core.logs import configure_logging
    from worker.main import run_beat

    settings = settings_here()
    configure_logging("beat", settings.log_format)
    run_beat(settings)
