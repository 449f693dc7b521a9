"""`fracture-queue web`."""

from __future__ import annotations

import click

from cli.environment import settings_here


@click.command()
def web() -> None:
    """Serve the page and the API until stopped; `fracture-queue up` starts it for you.

    Example: FRACTURE_PORT=8080 fracture-queue web
    """
    from core.logs import configure_logging
    from web.serve import serve

    settings = settings_here()
    configure_logging("web", settings.log_format)
    serve(settings)
