"""Health: `/healthz` says that the process lives, `/readyz` that it can do its work, or why not."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from flask import Blueprint, Response, jsonify

from core.errors import FractureError, NoActiveModel
from core.queue import announced
from core.records.models import active_models
from core.schema import check_schema
from web.parts import parts

blueprint = Blueprint("health", __name__)

#: Below this much free space nothing more is promised. Our choice: two of the largest files.
_LEAST_FREE_BYTES = 200 * 2**20


@blueprint.get("/healthz")
def get_health() -> Response:
    """Answer at all; touches neither database nor broker, so that their absence restarts nothing."""
    return jsonify(status="ok")


@blueprint.get("/readyz")
def get_readiness() -> tuple[Response, int]:
    """Check every part: 200 when all are well, else 503 with a sentence for each that is not."""
    checks: dict[str, Callable[[], str | None]] = {
        "database": _database,
        "broker": _broker,
        "model": _model,
        "folders": _folders,
        "disk": _disk,
    }
    problems: dict[str, str | None] = {}
    for name, check in checks.items():
        try:
            problems[name] = check()
        except FractureError as error:
            problems[name] = str(error)
    reasons = list(dict.fromkeys(words for words in problems.values() if words))  # an absent database fails two checks
    document = {
        "status": "unavailable" if reasons else "ready",
        "checks": {name: words or "ok" for name, words in problems.items()},
        "reasons": reasons,
    }
    return jsonify(document), 503 if reasons else 200


def _database() -> None:
    check_schema(parts().database)


def _broker() -> None:
    announced()


def _model() -> str | None:
    database = parts().database
    check_schema(database)
    with database.reading() as session:
        active = active_models(session)
    if not active:
        raise NoActiveModel
    absent = [model.full_name for model in active if not model.installed]
    return None if len(absent) < len(active) else f"The bundle of {', '.join(absent)} is active but not installed."


def _folders() -> str | None:
    settings = parts().settings
    folders = [settings.inbox, settings.processing, settings.done, settings.failed, parts().store.folder]
    broken = [str(folder) for folder in folders if not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK))]
    return f"Missing or not writable: {', '.join(broken)}." if broken else None


def _disk() -> str | None:
    for folder in (parts().settings.home, parts().store.folder):
        try:
            free = shutil.disk_usage(_existing(folder)).free
        except OSError as error:
            return f"The disk of {folder} cannot be asked for its space: {error.strerror}."
        if free < _LEAST_FREE_BYTES:
            return f"The disk of {folder} has {free / 2**20:.0f} MiB left; {_LEAST_FREE_BYTES / 2**20:.0f} are needed."
    return None


def _existing(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that exists."""
    return next(place for place in (folder, *folder.parents) if place.exists())
