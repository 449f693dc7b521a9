"""`fracture-queue queue`."""

from __future__ import annotations

import json
import time

import click
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from cli.environment import installation_here
from core.database import Database
from core.records.figures import QueueFigures, queue_figures
from core.settings import Settings


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
@click.option("--watch", is_flag=True, help="Refresh every second until Ctrl-C.")
def queue(as_json: bool, watch: bool) -> None:
    """Show what waits, runs and has ended, the oldest, the rate and the workers."""
    if as_json and watch:
        raise click.UsageError("--json prints one document; it cannot be combined with --watch.")
    settings, database = installation_here()
    if as_json:
        click.echo(json.dumps(_figures(settings, database).document(), indent=2))
        return
    if not watch:
        Console().print(_shown(_figures(settings, database)))
        return
    with Live(_shown(_figures(settings, database)), auto_refresh=False) as live:
        while True:
            time.sleep(1)
            live.update(_shown(_figures(settings, database)), refresh=True)


def _figures(settings: Settings, database: Database) -> QueueFigures:
    with database.reading() as session:
        return queue_figures(session, heard_within_seconds=2 * settings.lease_seconds)


def _shown(figures: QueueFigures) -> Group:
    counts = Table(*[status.value for status in figures.counts], "rejected", title="Queue")
    counts.add_row(*[str(count) for count in figures.counts.values()], str(figures.rejected))
    oldest = figures.oldest_waiting_seconds
    words = (
        f"Oldest waiting: {'nothing waits' if oldest is None else f'{oldest:.0f} s'}. "
        f"Rate over the last minute: {figures.images_per_second:.1f} images/s."
    )
    workers = Table("Worker", "Engine", "Holds", "Heard of", "Memory", title="Workers")
    for worker in figures.workers:
        workers.add_row(
            worker.name,
            worker.engine,
            str(worker.holds),
            f"{worker.seen_seconds_ago:.0f} s ago",
            f"{worker.memory_bytes / 2**20:.0f} MiB",
        )
    return Group(counts, words, workers)
