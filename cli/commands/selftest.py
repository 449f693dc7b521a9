"""`fracture-queue selftest`."""

from __future__ import annotations

import json
import os
import secrets
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from cli.environment import settings_here
from cli.parameters import Number
from core.errors import ConfigurationError


@click.command()
@click.option("--here", is_flag=True, help="Use the configured database and broker too, apart from real rows and keys.")
@click.option("--chaos", is_flag=True, help="Strike random faults while radiographs come in; nothing may be lost.")
@click.option("--minutes", type=Number(0.1, 1440), default=5, show_default=True, help="Of --chaos.")
@click.option("--seed", type=click.IntRange(0), help="Of --chaos.  [default: drawn, and printed]")
@click.option("--department", is_flag=True, help="--chaos on PostgreSQL and a separate Redis, both from wheels.")
@click.option("--each", type=click.IntRange(1, 100), help="--chaos: strike each fault this many times instead.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def selftest(
    here: bool, chaos: bool, minutes: float, seed: int | None, department: bool, each: int | None, as_json: bool
) -> None:
    """Send known images through inbox and API of a temporary installation and check the answers.

    Uses this installation's models and engine; touches none of its files and rows. Exit code 1 when a step fails.

    Example: fracture-queue selftest --chaos --minutes 20 --seed 7
    """
    if chaos:
        if here:
            raise ConfigurationError("--chaos hurts what it runs on; it makes an installation of its own, not --here.")
        _strike(minutes, secrets.randbelow(2**31) if seed is None else seed, department, each, as_json)
        return
    from worker.selftest import Report, SelftestFailed, run_selftest

    report = Report(tell=lambda line: click.echo(line, err=as_json))
    problem = None
    try:
        run_selftest(settings_here(), os.environ, report, here=here)
    except SelftestFailed as error:
        problem = str(error)
    if as_json:
        click.echo(json.dumps({"ok": problem is None, "steps": report.steps, "error": problem}, indent=2))
    else:
        seconds = sum(step["seconds"] for step in report.steps)
        click.echo(problem or f"All is well: {len(report.steps)} steps in {seconds:.1f} s.")
    if problem:
        raise SystemExit(1)


def _strike(minutes: float, seed: int, department: bool, each: int | None, as_json: bool) -> None:
    try:
        from chaos import faults, matrix, report, soak, trial
    except ImportError as error:
        raise ConfigurationError(f"{error}. Chaos needs `pip install 'fracture-queue[embedded,bench]'`.") from error

    back_end, models = trial.DEPARTMENT if department else trial.EMBEDDED, settings_here().models
    click.echo(f"{back_end}, seed {seed}", err=True)
    with (
        TemporaryDirectory(prefix="fracture-chaos-") as place,
        trial.running_trial(Path(place) / "home", back_end, FRACTURE_MODELS=str(models)) as running,
    ):
        soaked, rows, left_out = None, list[matrix.Row](), faults.left_out(running)
        if left_out:
            click.echo(report.left_out_line(left_out), err=True)
        if each is None:
            soaked = soak.soak(running, minutes=minutes, seed=seed, say=partial(click.echo, err=True))
        else:
            rows = list(matrix.strike_each(running, times=each, seed=seed, say=partial(click.echo, err=True)))
    if as_json:
        click.echo(json.dumps(report.document(soaked, rows, left_out), indent=2))
    else:
        click.echo("\n".join(report.matrix_lines(rows) if soaked is None else report.soak_lines(soaked)))
    clean = soaked.verdict.is_clean if soaked else not any(row.lost + row.doubled + row.altered for row in rows)
    if not clean:
        raise SystemExit(1)
