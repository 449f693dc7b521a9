"""`fracture-queue selftest`."""

from __future__ import annotations

import json
import os

import click

from cli.environment import settings_here


@click.command()
@click.option("--here", is_flag=True, help="Use the configured database and broker too, apart from real rows and keys.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def selftest(here: bool, as_json: bool) -> None:
    """Send known images through inbox and API of a temporary installation and check the answers.

    Uses this installation's models and engine; touches none of its files and rows. Exit code 1 when a step fails.

    Example: fracture-queue selftest
    """
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
