"""Readable log lines on standard error, one shape for all roles."""

from __future__ import annotations

import logging
import sys


def configure_logging(role: str, *, level: int = logging.INFO) -> None:
    """Send this process's log to standard error: time, role, level, words."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        logging.Formatter(f"%(asctime)s {role}[%(process)d] %(levelname)s %(message)s", datefmt="%Y-%m-%dT%H:%M:%S%z")
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # One line per task start and end would bury everything else; the audit trail is in the database.
    for noisy in ("celery.app.trace", "celery.worker.strategy", "celery.worker.request", "celery.beat", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
