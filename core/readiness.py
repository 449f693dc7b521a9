"""Can this installation do its work? What `/readyz` answers and `fracture-queue check` prints."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from core.database import Database, sqlite_file
from core.errors import ConfigurationError, FractureError, NoActiveModel, Unavailable
from core.queue import announced
from core.records.models import active_models
from core.schema import check_schema
from core.settings import Settings
from core.store import open_store
from core.words import counted

#: Below this much free space nothing more is promised. Our choice: two of the largest files.
LEAST_FREE_BYTES = 200 * 2**20


@dataclass(frozen=True)
class Finding:
    """What one look found."""

    check: str
    ok: bool
    words: str  # a sentence for a person
    code: str = ""  # of what is wrong


def look_over(settings: Settings, database: Database) -> list[Finding]:
    """Check folders, disk, database, broker and model; changes nothing and never raises.

    Args:
        settings: The installation.
        database: Its database; a SQLite file that does not exist is not made.
    """
    checks: dict[str, Callable[[], str]] = {
        "folders": lambda: _folders(settings),
        "disk": lambda: _disk(settings),
        "database": lambda: _database(database),
        "broker": _broker,
        "model": lambda: _model(database),
    }
    if settings.bucket is not None:
        checks["store"] = lambda: _store(settings)
    return [look(name, check) for name, check in checks.items()]


def look(name: str, check: Callable[[], str]) -> Finding:
    """Run one check, which returns a sentence or raises one."""
    try:
        return Finding(name, True, check())
    except FractureError as error:
        return Finding(name, False, str(error), error.code)


def _folders(settings: Settings) -> str:
    folders = [settings.inbox, settings.processing, settings.done, settings.failed, settings.store_path]
    needs = {folder: os.W_OK | os.X_OK for folder in folders if folder}
    if settings.inbox_read_only:
        needs[settings.inbox] = os.R_OK | os.X_OK
    broken = [str(folder) for folder, need in needs.items() if not (folder.is_dir() and os.access(folder, need))]
    if broken:
        raise ConfigurationError(f"Missing or not writable: {', '.join(broken)}.")
    return f"Everything is in {settings.home}."


def _disk(settings: Settings) -> str:
    least = None
    for folder in {settings.home, settings.store_path or settings.home}:
        place = next(above for above in (folder, *folder.parents) if above.exists())
        free = shutil.disk_usage(place).free
        if free < LEAST_FREE_BYTES:
            raise Unavailable(
                f"The disk of {folder} has {free / 2**20:.0f} MiB left; {LEAST_FREE_BYTES / 2**20:.0f} are needed."
            )
        least = free if least is None else min(least, free)
    return f"{(least or 0) / 2**30:.1f} GiB are free."


def _database(database: Database) -> str:
    _refuse_missing(database)
    check_schema(database)
    return f"{database.url.get_backend_name()}, tables up to date."


def _broker() -> str:
    return f"Answers; {counted(announced(), 'bell is', 'bells are')} not yet taken."


def _model(database: Database) -> str:
    _refuse_missing(database)
    check_schema(database)
    with database.reading() as session:
        active = active_models(session)
    if not active:
        raise NoActiveModel
    absent = [model.full_name for model in active if not model.installed]
    if len(absent) == len(active):
        raise ConfigurationError(f"The bundle of {', '.join(absent)} is active but not installed.")
    return f"Active: {', '.join(model.full_name for model in active)}."


def _store(settings: Settings) -> str:
    open_store(settings).reach()
    return "The bucket of originals answers."


def _refuse_missing(database: Database) -> None:
    file: Path | None = sqlite_file(database.url)
    if file is not None and not file.exists():
        raise ConfigurationError("There is no database yet; `fracture-queue up` or `fracture-queue migrate` makes it.")
