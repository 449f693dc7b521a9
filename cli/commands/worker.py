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

    configure_logging("worker")
    run_worker(settings_here())
