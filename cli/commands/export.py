"""`fracture-queue export`."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress

from cli.environment import installation_here
from cli.parameters import Number
from core.bundle import TASKS
from core.labelled_export import export_labelled
from core.records.labels import labels_of_readers
from core.store import open_store


@click.command()
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--task", type=click.Choice(TASKS), default=TASKS[0], show_default=True, help="The question to learn.")
@click.option(
    "--valid-share",
    type=Number(0, 1, max_open=True),
    default=0.2,
    show_default=True,
    help="Share of each class to validate on.",
)
@click.option(
    "--test-share",
    type=Number(0, 1, max_open=True),
    default=0.0,
    show_default=True,
    help="Share of each class to test on.",
)
@click.option("--json", "as_json", is_flag=True, help="Say what went out as JSON.")
def export(output: Path, task: str, valid_share: float, test_share: float, as_json: bool) -> None:
    """Write reviewed radiographs and their labels into the folder OUTPUT, or into OUTPUT.zip, for `train --data`.

    The first reading that stands gives the label. Left out, and counted, is what a reader was unsure of, what was taken
    back, and what two readers disagree on.

    Example: fracture-queue export reviewed && fracture-queue train mobilenetv2 --data reviewed
    """
    if valid_share + test_share >= 1:
        raise click.UsageError("--valid-share and --test-share leave nothing to train on.")
    settings, database = installation_here()
    left_out: Counter[str] = Counter()
    with database.reading() as session:
        labelled = list(labels_of_readers(session, task, left_out))
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
        bar = progress.add_task("Reading", total=len(labelled))
        exported = export_labelled(
            labelled,
            open_store(settings),
            output,
            task=task,
            max_pixels=settings.max_pixels,
            shares={"test": test_share, "valid": valid_share},
            left_out=left_out,
            advance=lambda: progress.advance(bar),
        )
    click.echo(json.dumps(vars(exported)) if as_json else exported.words())
