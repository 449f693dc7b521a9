"""`fracture-queue submit`."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Collection, Iterator
from dataclasses import replace
from itertools import chain, groupby, islice
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cli.answer_lines import answer_lines
from cli.environment import installation_here
from cli.outgoing import Outgoing
from core.announce import announcer
from core.database import Database
from core.errors import ConfigurationError
from core.ingest import Ingest, displayable
from core.records.fractures import FRACTURE_TASK
from core.records.intake import Arrival, Submission
from core.records.jobs import count_unfinished
from core.records.models import list_models
from core.records.results import Result, all_results_of
from core.store import open_store
from core.tables import ArrivalStatus, JobStatus, Source
from core.words import counted

#: Files recorded in one transaction.
_CHUNK = 32


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--name", default="", help="A name for this submission.")
@click.option("--wait", is_flag=True, help="Wait until every answer is stored, and show them.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def submit(paths: tuple[Path, ...], name: str, wait: bool, as_json: bool) -> None:
    """Send files, or all files below folders, to the queue. The files stay where they are.

    ZIP, tar and tar.gz are taken file by file. Research and education only, never diagnosis.

    Example: fracture-queue submit radiographs/ --wait
    """
    files = [file for path in paths for file in _files(path)]
    if not files:
        raise ConfigurationError(f"There are no files in {', '.join(str(path) for path in paths)}.")
    settings, database = installation_here()
    ingest = Ingest(settings, database, open_store(settings), announcer(settings, database))
    outgoing = Outgoing(files, settings)
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        arrivals = _send(ingest, outgoing, Submission(source=Source.COMMAND, name=name), progress)
        if wait:
            _wait(database, arrivals, progress)
    # By the name that the sender knows: of DICOM only a hash of it is stored.
    named = zip(outgoing.names, arrivals, strict=True)
    with database.reading() as session:
        binary = {model.full_name for model in list_models(session) if model.task == FRACTURE_TASK}
    entries = [_entry(database, given, arrival, binary if wait else None) for given, arrival in named]
    if as_json:
        click.echo(json.dumps(entries, indent=2))
    else:
        _tell(entries, binary)
    if any(entry["status"] == ArrivalStatus.REJECTED or _failed(entry) for entry in entries):
        raise SystemExit(1)


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        for folder, folders, names in os.walk(path):
            folders[:] = sorted(entry for entry in folders if not entry.startswith("."))
            yield from (Path(folder, entry) for entry in sorted(names) if not entry.startswith("."))
    elif path.exists():
        yield path
    else:
        raise ConfigurationError(f"There is no file or folder {path}.")


def _send(ingest: Ingest, outgoing: Outgoing, submission: Submission, progress: Progress) -> list[Arrival]:
    task = progress.add_task("Sending", total=outgoing.total)
    arrivals: list[Arrival] = []
    files = iter(outgoing)
    while (first := next(files, None)) is not None:
        # Read as they are needed: of an archive's files, too, only those in hand are in memory.
        arrivals += ingest.take(submission, chain([first], islice(files, _CHUNK - 1))).arrivals
        submission = replace(submission, continues=arrivals[0].submission_id)
        progress.update(task, completed=len(arrivals), total=outgoing.total)
    return arrivals


def _wait(database: Database, arrivals: list[Arrival], progress: Progress) -> None:
    radiographs = sorted({number for arrival in arrivals for number in arrival.radiograph_ids})
    task = progress.add_task("Classifying", total=len(radiographs))
    while True:
        with database.reading() as session:
            left = count_unfinished(session, radiographs)
        progress.update(task, completed=len(radiographs) - left)
        if not left:
            return
        time.sleep(0.2)


def _entry(database: Database, name: str, arrival: Arrival, binary: Collection[str] | None) -> dict[str, Any]:
    """Return an entry of the JSON document; its results only where `binary` names the models that come first."""
    entry: dict[str, Any] = {
        "name": displayable(name),
        "submission": arrival.submission_id,
        "status": arrival.status.value,
        "duplicate": arrival.duplicate,
        "radiographs": list(arrival.radiograph_ids),
        "error": {"code": arrival.error_code, "words": arrival.error_words} if arrival.error_code else None,
    }
    if binary is not None:
        with database.reading() as session:
            found: list[Result] = [
                result
                for number in arrival.radiograph_ids
                for result in sorted(all_results_of(session, number), key=lambda result: result.model not in binary)
            ]
        entry["results"] = [result.document() for result in found]
    return entry


def _failed(entry: dict[str, Any]) -> bool:
    return any(result["status"] != JobStatus.DONE for result in entry.get("results", ()))


def _tell(entries: list[dict[str, Any]], binary: Collection[str]) -> None:
    for entry in entries:
        if entry["error"]:
            click.echo(f"{entry['name']}: {entry['error']['words']} ({entry['error']['code']})")
        for frame, results in groupby(entry.get("results", ()), key=lambda result: result["frame"]):
            name = f"{entry['name']}, page {frame + 1}" if frame else entry["name"]
            for line in answer_lines(name, [(result, result["model"] in binary) for result in results]):
                click.echo(line)
    accepted = sum(entry["status"] == ArrivalStatus.ACCEPTED for entry in entries)
    before = sum(entry["duplicate"] for entry in entries)
    click.echo(f"{accepted} of {counted(len(entries), 'file')} accepted, {before} here before.")
