"""`fracture-queue queue`."""

from __future__ import annotations

import json
import time

import click
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cli.environment import installation_here
from cli.output import console
from core.errors import DatabaseUnavailable
from core.overview import Overview
from core.records.failures import Cause
from core.records.figures import ProcessFigure, QueueFigures, WorkerFigure
from core.records.history import Spread
from core.states import WorkerState

#: Seconds that one command waits for a broker, which may be away.
_PATIENCE_SECONDS = 3.0
_REFRESH_SECONDS = 2.0
#: Causes that are shown; `--json` has them all.
_MOST_CAUSES = 8
_COLOURS = {WorkerState.WEDGED: "bold red", WorkerState.DEAD: "bold red", WorkerState.UNKNOWN: "yellow"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
@click.option("--watch", is_flag=True, help="Refresh every two seconds until Ctrl-C.")
def queue(as_json: bool, watch: bool) -> None:
    """Show what waits, runs and has ended, why what failed, how fast it goes, and how the workers are."""
    if as_json and watch:
        raise click.UsageError("--json prints one document; it cannot be combined with --watch.")
    settings, database = installation_here()
    overview = Overview(settings, database)
    figures = overview.figures(wait_seconds=_PATIENCE_SECONDS)
    if as_json:
        click.echo(json.dumps(figures.document(), indent=2))
        return
    if not watch:
        console().print(_shown(figures))
        return
    with Live(_shown(figures), auto_refresh=False, screen=console().is_terminal) as live:
        while True:
            time.sleep(_REFRESH_SECONDS)
            try:
                live.update(_shown(overview.figures()), refresh=True)
            except DatabaseUnavailable as error:
                live.update(Group(_shown(figures), Text(f"{error} These figures are old.", "bold red")), refresh=True)


def _shown(figures: QueueFigures) -> Group:
    parts: list[RenderableType] = [_counts(figures), _pace(figures)]
    parts.append(Text(_broker(figures), "" if figures.broker.agrees else "bold red"))
    parts += [Text(pause.words(), "bold yellow") for pause in figures.pauses]
    if figures.unfinished and not figures.working:
        parts.append(Text("No worker is able to work; what waits is safe in the database.", "bold red"))
    parts.append(_workers(figures))
    remarks = [worker for worker in figures.processes if worker.words]
    parts += [Text(f"{worker.name}: {worker.words}", _COLOURS.get(worker.state, "")) for worker in remarks]
    if figures.causes:
        parts.append(_failures(figures.causes))
    return Group(*parts)


def _counts(figures: QueueFigures) -> Table:
    table = Table(padding=(0, 0), pad_edge=False, title="Answers, one of each model to each radiograph")
    for name in (*(status.value for status in figures.counts), "rejected"):
        table.add_column(name, justify="right")
    table.add_row(*[str(count) for count in figures.counts.values()], str(figures.rejected))
    return table


def _pace(figures: QueueFigures) -> Text:
    rates = figures.rates
    return Text(
        f"Oldest waiting: {_length(figures.oldest_waiting_seconds, 'nothing waits')}. "
        f"Finished in about: {_to_finish(figures.seconds_to_finish)}.\n"
        f"Answers/s over 1, 5, 60 min: {rates.minute:.1f}, {rates.five_minutes:.1f}, {rates.hour:.1f}.\n"
        f"Wait p50, p95: {_spread(figures.pace.waited)}. Run p50, p95: {_spread(figures.pace.ran)}."
    )


def _broker(figures: QueueFigures) -> str:
    broker = figures.broker
    if not broker.answers:
        return broker.words
    unacknowledged = "" if broker.unacknowledged is None else f", {broker.unacknowledged} unacknowledged"
    bells = f"Bells: {broker.announced} announced, {broker.prefetched} prefetched{unacknowledged}."
    return f"{bells} {broker.words}"


def _workers(figures: QueueFigures) -> Table:
    table = Table("State", padding=(0, 0), pad_edge=False, title="Workers")
    table.columns[0].no_wrap = True
    for name in ("Process", "Model"):
        table.add_column(name, overflow="fold")
    for name in ("Holds", "For", "Heard", "MiB"):
        table.add_column(name, justify="right", no_wrap=True)
    for worker in figures.processes:
        state = Text(worker.state.value + (", paused" if worker.paused else ""), _COLOURS.get(worker.state, ""))
        table.add_row(state, *_row(worker))
    return table


def _row(worker: ProcessFigure) -> tuple[str, ...]:
    last = (_length(worker.seen_seconds_ago, ""), f"{worker.memory_bytes / 2**20:.0f}")
    if isinstance(worker, WorkerFigure):
        model = f"{worker.model or ''} {worker.engine}".strip()
        return (worker.name, model, str(worker.holds), _length(worker.held_seconds, ""), *last)
    return (worker.name, "hands out bells", "", "", *last)


def _failures(causes: tuple[Cause, ...]) -> Table:
    table = Table("Cause", padding=(0, 0), pad_edge=False, title="Failures (fracture-queue retry --error CAUSE)")
    for name in ("Failed", "Again"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("What it says", overflow="fold")
    table.add_column("Radiographs")
    for cause in causes[:_MOST_CAUSES]:
        examples = ", ".join(str(number) for number in cause.examples)
        table.add_row(cause.code, str(cause.failed), str(cause.pausing), cause.words, examples)
    return table


def _spread(found: Spread | None) -> str:
    return "unknown" if found is None else f"{_length(found.p50, '')}, {_length(found.p95, '')}"


def _to_finish(seconds: float | None) -> str:
    return "nothing is left" if seconds == 0 else _length(seconds, "unknown")


def _length(seconds: float | None, otherwise: str) -> str:
    if seconds is None:
        return otherwise
    if seconds < 60:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 2 * 3600 else f"{seconds / 3600:.0f} h"
