"""`fracture-queue results`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.table import Table

from cli.environment import installation_here
from cli.output import UNBOUNDED, console, unambiguous
from cli.parameters import COUNT, ROW_ID, Moment, Number
from core.doubts import KIND, WHETHER, doubts
from core.errors import ConfigurationError
from core.export import write_csv, write_json, write_parquet
from core.plausibility import WORDS, sentence_of
from core.records.filters import Filters
from core.records.results import Result, iterate_results, labels_of
from core.tables import JobStatus, Source

#: A mark at the number that is in doubt takes less of the name than a column of words.
_UNSURE = "?"
_LEGEND = f"{_UNSURE} {WHETHER} (at Fracture), {KIND} (at Conf.)"
#: Columns of a terminal that has room for the year.
_WIDE = 100


@click.command()
@click.option("--label", help="Only this answer, e.g. spiral.")
@click.option("--min-confidence", type=Number(0, 1), help="Only answers at least this sure.")
@click.option("--max-confidence", type=Number(0, 1), help="Only answers at most this sure.")
@click.option("--status", type=click.Choice([status.value for status in JobStatus]), help="Only this state.")
@click.option("--source", type=click.Choice([source.value for source in Source]), help="Only this door.")
@click.option("--since", type=Moment(), help="Received at or after this time, or an age like 24h.")
@click.option("--until", type=Moment(), help="Received before this time.")
@click.option("--name", help="Only names that hold these characters.")
@click.option("--submission", type=ROW_ID, metavar="ID", help="Only one upload, drop or command.")
@click.option("--sha256", help="Only this content.")
@click.option("--flag", help="Only answers with this flag, e.g. doubtful or colour.")
@click.option("--in-set", metavar="LABEL", help="Only answers that do not rule this label out.")
@click.option("--reviewed/--not-reviewed", default=None, help="Only what somebody has reviewed, or nobody.")
@click.option("--agreed/--disagreed", default=None, help="Only what a reviewer agreed with, or not.")
@click.option("--model", metavar="NAME[/VERSION]", help="This model's answers.  [default: the ten-class model]")
@click.option("--limit", type=COUNT, help="At most so many, newest first.  [default: all]")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "csv", "parquet"]),
    default="table",
    show_default=True,
    help="parquet needs --output.",
)
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write to a file.")
def results(
    form: str, output: Path | None, limit: int | None, status: str | None, source: str | None, **wanted: Any
) -> None:
    """List stored results, newest first. Research and education only, never diagnosis.

    Example: fracture-queue results --label spiral --min-confidence 0.6 --since 24h --format csv
    """
    if form == "parquet" and output is None:
        raise click.UsageError("--format parquet needs --output FILE.")
    _, database = installation_here()
    filters = Filters(status=JobStatus(status) if status else None, source=Source(source) if source else None, **wanted)
    with database.reading() as session:
        found = iterate_results(session, filters, limit=limit)
        try:
            _write(found, form, output, labels_of(session, filters.model))
        except OSError as error:
            if output is None:
                raise
            raise ConfigurationError(f"{output} cannot be written: {error.strerror}.") from error


def _write(found: Iterable[Result], form: str, output: Path | None, labels: Sequence[str]) -> None:
    if form == "parquet" and output is not None:
        write_parquet(found, output)
        return
    stream = sys.stdout if output is None else output.open("w", encoding="utf-8", newline="")
    try:
        if form == "json":
            write_json(found, unambiguous(stream))
        elif form == "csv":
            write_csv(found, unambiguous(stream), labels)
        else:
            _print_table(found, console(stream))
    finally:
        if output is not None:
            stream.close()


def _print_table(found: Iterable[Result], where: Console) -> None:
    table = _table(found, where)
    if table.row_count:
        where.print(table)
    else:
        click.echo("No stored result is like that.", err=True)


def _table(found: Iterable[Result], where: Console) -> Table:
    # Only the name gives way on a narrow terminal, and on one of 80 columns the year, so that a dozen characters of the
    # name are left; the whole of everything is in the other formats.
    is_narrow, expand = where.width < _WIDE, where.width < UNBOUNDED
    received, moment = ("UTC", "%m-%d %H:%M") if is_narrow else ("Received (UTC)", "%Y-%m-%d %H:%M")
    table = Table(box=box.SIMPLE, pad_edge=False, padding=(0, 1, 0, 0), expand=expand)
    table.add_column("ID", min_width=3)
    table.add_column("Name", no_wrap=True, overflow="ellipsis", ratio=1 if expand else None)
    for heading, width in (("Status", 6), ("Fracture", 8), ("Label", 20), ("Conf.", 5), (received, 11)):
        table.add_column(heading, min_width=width)
    for result in found:
        table.add_row(
            str(result.id),
            result.name,
            result.status.value if result.status else "",
            _fracture(result),
            _kind(result),
            _confidence(result),
            f"{result.received_at:{moment}}",
        )
        if doubts(result):
            table.caption = _LEGEND
    return table


def _fracture(result: Result) -> str:
    """Say what the binary model suspects, and how likely a fracture is."""
    if result.fracture is None or sentence_of(result.fracture.flags):
        return ""
    mark = _UNSURE if WHETHER in doubts(result) else ""
    return f"{'yes' if result.fracture.suspected else 'no'} {result.fracture.probability:.2f}{mark}"


def _confidence(result: Result) -> str:
    if result.confidence is None or sentence_of(result.flags):
        return ""
    return f"{result.confidence:.2f}{_UNSURE if KIND in doubts(result) else ''}"


def _kind(result: Result) -> str:
    """Name the answer; in brackets where it is a kind of fracture and none is suspected."""
    if result.label is None:
        return result.error["words"] if result.error else ""
    if words := [flag for flag in WORDS if flag in result.flags]:
        return f"not judged: {', '.join(words)}"
    return f"({result.label})" if result.kind_is_secondary else result.label
