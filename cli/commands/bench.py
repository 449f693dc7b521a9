"""`fracture-queue bench`: how fast this machine is, against a peer and against a ceiling."""

from __future__ import annotations

import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from cli.parameters import Number

#: In the order in which `all` runs them.
PARTS = ("engines", "pipeline", "latency", "ingest", "query", "watching", "growth")


@click.command()
@click.argument("part", metavar="[PART]", type=click.Choice([*PARTS, "all"]), default="all")
@click.option(
    "--images", type=click.Path(path_type=Path, exists=True), help="Radiographs (JPEG) to use.  [default: drawn]"
)
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True, help="Turns that count.")
@click.option("--files", type=click.IntRange(8), default=600, show_default=True, help="Files in each turn.")
@click.option("--seconds", type=Number(0.05), default=1.0, show_default=True, help="Of each engine's turn.")
@click.option(
    "--rows",
    type=click.IntRange(1000),
    default=1_000_000,
    show_default=True,
    help="Radiographs in the larger database.",
)
@click.option("--engine", "engines", multiple=True, help="Only this engine beside ours; repeatable.  [default: all]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def bench(
    part: str,
    images: Path | None,
    rounds: int,
    files: int,
    seconds: float,
    rows: int,
    engines: tuple[str, ...],
    as_json: bool,
) -> None:
    """Measure PART, or all of them, on this machine.

    \b
    engines   images per second
    pipeline  files to rows, against a bare loop and a peer
    latency   single uploads, idle and during a bulk drop
    ingest    files per second through the doors
    query     what is asked of a million radiographs
    watching  what the queue page costs
    growth    large drops, memory
    all       all of these, one after another (the default)

    Contestants take turns, and ratios are formed within a turn; nothing but this should run meanwhile.

    Example: fracture-queue bench engines --rounds 5
    """  # noqa: D301 - click's mark of lines that stay as they are
    try:
        from benchmarks import measured, parts
    except ImportError as error:
        from core.errors import ConfigurationError

        raise ConfigurationError(f"{error}. Benchmarks need `pip install 'fracture-queue[bench]'`.") from error

    options = parts.Options(images=images, rounds=rounds, files=files, seconds=seconds, rows=rows, engines=engines)
    found = []
    with TemporaryDirectory(prefix="fracture-bench-") as place:
        for name in PARTS if part == "all" else (part,):
            for each in parts.run(name, Path(place) / name, options, os.environ):
                found.append(each)
                if not as_json:
                    click.echo("\n".join(parts.as_text(each)))
    if as_json:
        click.echo(json.dumps({"machine": measured.machine(), "parts": [each.document() for each in found]}, indent=1))
