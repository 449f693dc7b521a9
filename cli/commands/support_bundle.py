"""`fracture-queue support-bundle`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cli.environment import actor_here, settings_here
from core.errors import FractureError
from core.settings import Settings


@click.command("support-bundle")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE.zip")
def support_bundle(file: Path) -> None:
    """Collect facts for whoever helps into a new FILE.zip: versions, settings, counts, codes of failures, findings.

    No picture, no name, no address, no log is in it. Look into it before you send it.

    Example: fracture-queue support-bundle problem.zip
    """
    from core.support import collect, write_bundle

    settings = settings_here()
    write_bundle(file, {**collect(settings), "doctor": _doctor(settings)})
    click.echo(f"{file}: versions, settings, counts and codes; no picture, no name, no log.")


def _doctor(settings: Settings) -> Any:
    """Return what the doctor finds, in numbers: its sentences may quote a path."""
    from core.home import open_installation
    from core.store import open_store
    from worker.doctor.ailments import Premises
    from worker.doctor.examination import examine

    try:
        store = open_store(settings)
        premises = Premises(settings, open_installation(settings), store, actor_here())
    except FractureError as error:
        return {"away": error.code}
    return [
        {"check": verdict.check, "well": verdict.well, "found": verdict.found.count if verdict.found else 0}
        for verdict in examine(premises, fix=False)
    ]
