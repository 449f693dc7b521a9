"""Log lines on standard error, one shape for all roles: readable, or one line of JSON each for a log collector.

In JSON what happens to a radiograph is told as well, from its arrival to its prediction, with its number; for people
the audit trail in the database does that. Neither holds a name of a file or a patient.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from typing import Any

from pythonjsonlogger.json import JsonFormatter

READABLE, JSON = "readable", "json"
#: What happens to radiographs: a line for every event of the audit trail, once it is committed.
_trail = logging.getLogger("fracture.trail")
#: What of an event's detail is told; the rest may be words that somebody typed.
_TOLD = ("attempt", "attempts", "code", "was", "model", "reading")


def configure_logging(role: str, shape: str = READABLE, *, level: int = logging.INFO) -> None:
    """Send this process's log to standard error.

    Args:
        role: Of this process.
        shape: READABLE: time, role, level, words. JSON: the same and more, as a JSON object a line.
        level: The least that is told.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_json_lines(role) if shape == JSON else _readable_lines(role))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    _trail.setLevel(level if shape == JSON else logging.WARNING)
    # One line per task start and end would bury everything else; the audit trail is in the database.
    for noisy in ("celery.app.trace", "celery.worker.strategy", "celery.worker.request", "celery.beat", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def trail_is_told() -> bool:
    """Whether `tell` does anything."""
    return _trail.isEnabledFor(logging.INFO)


def tell(kind: str, *, actor: str, detail: Mapping[str, Any], **numbers: int | None) -> None:
    """Tell of one thing that happened.

    Args:
        kind: What, as in the audit trail.
        actor: Who did it.
        detail: Of which only what this program itself wrote is told.
        numbers: `radiograph_id`, `job_id`, `arrival_id`; None: it has none.
    """
    known = {name: value for name, value in numbers.items() if value is not None}
    told = {name: detail[name] for name in _TOLD if name in detail}
    _trail.info(kind, extra={"event": kind, "actor": actor, **known, **told})


def _readable_lines(role: str) -> logging.Formatter:
    return logging.Formatter(
        f"%(asctime)s {role}[%(process)d] %(levelname)s %(message)s", datefmt="%Y-%m-%dT%H:%M:%S%z"
    )


def _json_lines(role: str) -> logging.Formatter:
    return JsonFormatter(
        "%(levelname)s %(process)d %(name)s %(message)s",
        rename_fields={"levelname": "level", "process": "pid", "name": "logger"},
        static_fields={"role": role},
        timestamp=True,
    )
