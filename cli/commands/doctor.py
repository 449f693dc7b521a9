"""`fracture-queue doctor`."""

from __future__ import annotations

import getpass
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from cli.environment import installation_here

if TYPE_CHECKING:
    from worker.doctor.examination import Verdict


@click.command()
@click.option("--fix", is_flag=True, help="Mend what can be mended.")
@click.option("--deep", is_flag=True, help="Read every original and compare its sha256, not only its size.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def doctor(fix: bool, deep: bool, as_json: bool) -> None:
    """Find what is stuck, lost or damaged: leases, unannounced work, the inbox's and the store's files, counts.

    Safe while everything runs. Changes nothing without --fix. Exit code 0 when nothing is wrong or everything was
    mended, 1 when something is left. Work in quarantine is shown but is not wrong: `retry` sends it back.

    Example: fracture-queue doctor --fix
    """
    from core.store import open_store
    from worker.doctor.ailments import Premises
    from worker.doctor.examination import examine

    settings, database = installation_here()
    actor = f"doctor:{getpass.getuser()}"
    premises = Premises(settings, database, open_store(settings), actor, deep=deep)
    verdicts = []
    for verdict in examine(premises, fix=fix):
        verdicts.append(verdict)
        if not as_json:
            tell(verdict, fix=fix)
    well = all(verdict.well for verdict in verdicts)
    if as_json:
        checks = [
            {
                "check": verdict.check,
                "well": verdict.well,
                "found": asdict(verdict.found) if verdict.found else None,
                "left": asdict(verdict.left) if verdict.left else None,
            }
            for verdict in verdicts
        ]
        click.echo(json.dumps({"well": well, "fixed": fix, "checks": checks}, indent=2))
    if not well:
        raise SystemExit(1)


def tell(verdict: Verdict, *, fix: bool) -> None:
    """Print what one check found."""
    shown = verdict.left or verdict.found
    if shown is None:
        click.echo(f"ok      {verdict.check}")
        return
    state = "note  " if shown.notice else "wrong " if verdict.left else "mended"
    click.echo(f"{state}  {verdict.check}: {shown.words}")
    for example in shown.examples:
        click.echo(f"          {example}")
    if shown.count > len(shown.examples) > 0:
        click.echo(f"          and {shown.count - len(shown.examples)} more")
    if shown.remedy and verdict.left and not fix:
        click.echo(f"        --fix {shown.remedy}.")
