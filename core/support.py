"""Facts for whoever helps: what runs here, how it is set, what failed. No picture, no name, no address, no log.

What may hold a name is not masked but left out: names of files, submissions, people, machines and models, paths, notes,
sentences of failures (they may quote a path or a library), and logs. A code stands for its sentence.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from datetime import UTC, datetime
from importlib.metadata import distributions, version
from pathlib import Path
from typing import Any

from sqlalchemy import func, select, text

from core.database import Database
from core.errors import ConfigurationError, FractureError
from core.home import open_installation
from core.readiness import look_over
from core.records.figures import queue_figures
from core.schema import expected_revision, found_revision
from core.settings import Settings
from core.tables import ArrivalRow, ArrivalStatus, JobRow, JobStatus, ModelVersionRow

README = """What `fracture-queue support-bundle` collected, for whoever helps.

It holds versions, settings without addresses, paths and secrets, counts, and codes of failures. It holds no picture and
no name: not of files, patients, people, machines or models. Logs are not in it, because they may quote such names; look
through them yourself (logs/ in the home folder, or the journal) before you send a part.

Research and education only, never diagnosis.
"""
_MOST_FAILURES = 50
#: Settings that are one of a few words of ours. Other texts may be addresses, names or secrets.
_CHOICES = ("engine", "log_format", "inbox_done")


def collect(settings: Settings) -> dict[str, Any]:
    """Return what is known, by the name of its document; a part that is away says so by its code."""
    database = Database(settings.database_url)
    parts: dict[str, Callable[[], Any]] = {
        "about": lambda: _about(settings),
        "settings": lambda: shown_settings(settings),
        "schema": lambda: {"expected": expected_revision(), "found": found_revision(database)},
        "readiness": lambda: [
            {"check": finding.check, "ok": finding.ok, "code": finding.code, "words": words_of(finding.code)}
            for finding in look_over(settings, database)
        ],
        "database": lambda: _database(settings),
        "queue": lambda: _queue(settings),
        "failures": lambda: _failures(settings),
        "packages": lambda: {each.metadata["Name"]: each.version for each in sorted(distributions(), key=_name)},
    }
    try:
        return {name: _guarded(part) for name, part in parts.items()}
    finally:
        database.dispose()


def write_bundle(file: Path, documents: Mapping[str, Any]) -> None:
    """Write the documents as JSON into a new zip file that this user alone can read.

    Raises:
        ConfigurationError: The file is there already, or cannot be written.
    """
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as stream, zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as bundle:
            bundle.writestr("README.txt", README)
            for name, document in documents.items():
                bundle.writestr(f"{name}.json", json.dumps(document, indent=2) + "\n")
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be written: {error.strerror}.") from error


def shown_settings(settings: Settings) -> dict[str, Any]:
    """Return the settings without addresses, paths, names and secrets."""
    return {each.name: _shown(settings, each.name, getattr(settings, each.name)) for each in fields(settings)}


def words_of(code: str) -> str:
    """Return the sentence that belongs to a code of ours; empty for codes without one."""
    return next((str(kind()) for kind in _kinds(FractureError) if kind.code == code), "")


def _shown(settings: Settings, name: str, value: Any) -> Any:
    if isinstance(value, (bool, int, float)) or name in _CHOICES:
        return value
    if isinstance(value, Path):
        return "home" if value == settings.home else "in home" if value.is_relative_to(settings.home) else "elsewhere"
    if name.endswith("_url"):
        return str(value).partition(":")[0]
    return "set" if value else "not set"


def _kinds(kind: type[FractureError]) -> Iterator[type[FractureError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from _kinds(below)


def _guarded(part: Callable[[], Any]) -> Any:
    try:
        return part()
    except FractureError as error:
        return {"away": error.code, "words": words_of(error.code)}


def _name(distribution: Any) -> str:
    return str(distribution.metadata["Name"]).lower()


def _about(settings: Settings) -> dict[str, Any]:
    return {
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "program": version("fracture-queue"),
        "python": sys.version,
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "free_bytes": shutil.disk_usage(settings.home).free if settings.home.exists() else None,
    }


def _database(settings: Settings) -> dict[str, Any]:
    database = open_installation(settings)
    question = "SELECT sqlite_version()" if database.is_sqlite else "SHOW server_version"
    with database.reading() as session:
        return {"kind": database.url.get_backend_name(), "version": session.scalar(text(question))}


def _queue(settings: Settings) -> dict[str, Any]:
    with open_installation(settings).reading() as session:
        figures = queue_figures(session, settings)
        models = session.execute(
            select(ModelVersionRow.id, ModelVersionRow.task, ModelVersionRow.active, ModelVersionRow.installed)
        ).all()
    # Each by name: the figures' own document holds names of machines, and words that people gave for a pause.
    return {
        **{status.value: count for status, count in figures.counts.items()},
        "rejected": figures.rejected,
        "oldest_waiting_seconds": figures.oldest_waiting_seconds,
        "images_per_second": figures.images_per_second,
        "seconds_to_finish": figures.seconds_to_finish,
        "pauses": len(figures.pauses),
        "machines": len(figures.hosts),
        "mains": [{"state": main.state.value, "connected": main.connected} for main in figures.mains],
        "workers": [
            {
                "state": worker.state.value,
                "engine": worker.engine,
                "holds": worker.holds,
                "held_seconds": worker.held_seconds,
                "memory_bytes": worker.memory_bytes,
            }
            for worker in figures.workers
        ],
        "models": [dict(model._mapping) for model in models],
    }


def _failures(settings: Settings) -> dict[str, Any]:
    with open_installation(settings).reading() as session:
        last = [
            {
                "job": job.id,
                "radiograph": job.radiograph_id,
                "model": job.model_version_id,
                "status": job.status.value,
                "code": job.error_code,
                "words": words_of(job.error_code or ""),
                "attempts": job.attempts,
                "deaths": job.deaths,
                "finished_at": None if job.finished_at is None else job.finished_at.isoformat(),
            }
            for status in (JobStatus.FAILED, JobStatus.QUARANTINED)
            for job in session.scalars(
                select(JobRow).where(JobRow.status == status).order_by(JobRow.finished_at.desc()).limit(_MOST_FAILURES)
            )
        ]
        refused = session.execute(
            select(ArrivalRow.error_code, func.count())
            .where(ArrivalRow.status == ArrivalStatus.REJECTED)
            .group_by(ArrivalRow.error_code)
        ).all()
    return {"last": last, "refused_at_the_door": {str(code): count for code, count in refused}}
