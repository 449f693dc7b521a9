"""`fracture-queue worker`."""

from __future__ import annotations

import click

from cli.environment import settings_here


@click.command()
def worker() -> None:
    """Run the processes that classify, one per core unless FRACTURE_WORKER_PROCESSES says otherwise.

    Stops with SIGTERM after the batches in hand; `fracture-queue up` starts it for you.
    """
    from core.logs import configure_logging
    from worker.main import run_worker

    settings = settings_here()
    configure_logging("worker", settings.log_format)
    run_worker(settings)
