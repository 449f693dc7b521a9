"""`fracture-queue check`."""

from __future__ import annotations

import json
from dataclasses import replace

import click

from cli.environment import settings_here
from core.bundle import find_bundles
from core.database import Database
from core.errors import Unavailable
from core.readiness import Finding, look, look_over
from core.records.controls import Pause, pauses
from core.records.workers import living
from core.schema import check_schema
from core.settings import Settings


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def check(as_json: bool) -> None:
    """Look over the installation: folders, disk, database, broker, models, bundles, processes, pauses.

    Changes nothing. Exit code 1 when something is wrong.
    """
    settings = settings_here()
    database = Database(settings.database_url)
    findings = [
        *look_over(settings, database),
        look("bundles", lambda: _bundles(settings)),
        look("processes", lambda: _processes(settings, database)),
        _pauses(database),
    ]
    if as_json:
        click.echo(json.dumps([vars(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            word = "wrong" if not finding.ok else "note" if finding.code else "ok"
            click.echo(f"{word:5}  {finding.check}: {finding.words}")
    if not all(finding.ok for finding in findings):
        raise SystemExit(1)


def _bundles(settings: Settings) -> str:
    bundles = find_bundles(settings.models)
    for bundle in bundles:
        bundle.verify()
    return f"{len(bundles)} in {settings.models}, none altered."


def _processes(settings: Settings, database: Database) -> str:
    check_schema(database)
    with database.reading() as session:
        counts = {
            role: len(living(session, role=role, within_seconds=2 * settings.lease_seconds))
            for role in ("worker", "inbox", *(["dicom"] if settings.dicom else []))
        }
    missing = [role for role, count in counts.items() if not count]
    if missing:
        raise Unavailable(
            f"No {' and no '.join(missing)} process has reported lately; `fracture-queue up` starts them."
        )
    receives = f", {counts['dicom']} that receives DICOM" if settings.dicom else ""
    return f"{counts['worker']} that classify, {counts['inbox']} that watches the inbox{receives}."


def _pauses(database: Database) -> Finding:
    """Tell what is paused: somebody ordered it, so it is not wrong, but it is why nothing moves."""
    found: list[Pause] = []

    def in_words() -> str:
        check_schema(database)
        with database.reading() as session:
            found.extend(pauses(session))
        return " ".join(pause.words() for pause in found) or "Neither the intake nor workers are paused."

    finding = look("pauses", in_words)
    return replace(finding, code="paused") if found else finding
