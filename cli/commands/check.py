"""`fracture-queue check`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import click

from cli.environment import settings_here
from core.bundle import find_bundles
from core.database import Database
from core.errors import ConfigurationError, FractureError, Unavailable
from core.queue import announced
from core.records.models import active_models
from core.records.workers import living
from core.schema import check_schema
from core.settings import Settings

_LEAST_FREE_BYTES = 200 * 2**20


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def check(as_json: bool) -> None:
    """Look over the installation: settings, folders, database, broker, models, disk, processes.

    Changes nothing. Exit code 1 when something is wrong.
    """
    settings = settings_here()
    checks: dict[str, Callable[[Settings], str]] = {
        "folders": _folders,
        "disk": _disk,
        "database": _database,
        "broker": _broker,
        "models": _models,
        "processes": _processes,
    }
    found = []
    for name, look in checks.items():
        try:
            found.append({"check": name, "ok": True, "words": look(settings)})
        except FractureError as error:
            found.append({"check": name, "ok": False, "words": str(error)})
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        for entry in found:
            click.echo(f"{'ok    ' if entry['ok'] else 'wrong '} {entry['check']}: {entry['words']}")
    if not all(entry["ok"] for entry in found):
        raise SystemExit(1)


def _folders(settings: Settings) -> str:
    missing = [str(f) for f in (settings.inbox, settings.processing, settings.done, settings.failed) if not f.is_dir()]
    if missing:
        raise ConfigurationError(f"Missing: {', '.join(missing)}; `fracture-queue up` makes them.")
    return f"everything is in {settings.home}"


def _disk(settings: Settings) -> str:
    place = next(folder for folder in (settings.home, *settings.home.parents) if folder.exists())
    free = shutil.disk_usage(place).free
    if free < _LEAST_FREE_BYTES:
        raise Unavailable(f"Only {free / 2**20:.0f} MiB are free in {place}.")
    return f"{free / 2**30:.1f} GiB free"


def _database(settings: Settings) -> str:
    database = Database(settings.database_url)
    if database.is_sqlite and not Path(str(database.url.database)).exists():
        raise ConfigurationError("There is no database yet; `fracture-queue up` or `fracture-queue migrate` makes it.")
    check_schema(database)
    return f"{database.url.get_backend_name()}, tables up to date"


def _broker(settings: Settings) -> str:  # noqa: ARG001 - all checks are called alike
    return f"answers, {announced()} bells not yet taken"


def _models(settings: Settings) -> str:
    bundles = find_bundles(settings.models)
    for bundle in bundles:
        bundle.verify()
    database = Database(settings.database_url)
    check_schema(database)
    with database.reading() as session:
        active = [version.full_name for version in active_models(session)]
    if not active:
        raise ConfigurationError("No model is active; see `fracture-queue models activate`.")
    return f"{len(bundles)} installed and unaltered, active: {', '.join(active)}"


def _processes(settings: Settings) -> str:
    database = Database(settings.database_url)
    check_schema(database)
    with database.reading() as session:
        counts = {
            role: len(living(session, role=role, within_seconds=2 * settings.lease_seconds))
            for role in ("worker", "inbox")
        }
    missing = [role for role, count in counts.items() if not count]
    if missing:
        raise Unavailable(
            f"No {' and no '.join(missing)} process has reported lately; `fracture-queue up` starts them."
        )
    return ", ".join(f"{count} {role}" for role, count in counts.items())
