"""What every request needs, made once per application."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from flask import current_app

from core.database import Database
from core.ingest import Ingest
from core.overview import Overview
from core.settings import Settings
from core.store import Store
from web.attempts import Attempts
from web.door import Door

EXTENSION = "fracture-queue"


@dataclass(frozen=True)
class Parts:
    """The application's own parts, safe to use from several threads."""

    settings: Settings
    database: Database
    store: Store
    ingest: Ingest
    announce: Callable[[int], None]  # rings for a number of jobs; may raise `BrokerUnavailable`
    door: Door  # whether anybody has to sign in
    attempts: Attempts  # failed sign-ins
    overview: Overview  # the queue's figures


def parts() -> Parts:
    """Return the parts of the application that serves this request."""
    found: Parts = current_app.extensions[EXTENSION]
    return found
