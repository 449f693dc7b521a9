"""The queue page: what waits, runs and has ended, and which workers live."""

from __future__ import annotations

from flask import Blueprint, render_template
from sqlalchemy.orm import Session

from core.records.figures import QueueFigures, queue_figures
from web.parts import parts

blueprint = Blueprint("queue", __name__)

#: A worker that missed this many heartbeats is no longer counted. Our choice: one may be late, three mean trouble.
_MISSED_BEATS = 3


@blueprint.get("/queue")
def queue_page() -> str:
    """Show the figures."""
    with parts().database.reading() as session:
        figures = figures_now(session)
    return render_template("queue.html", figures=figures)


def figures_now(session: Session) -> QueueFigures:
    """Count, leaving out workers that have fallen silent."""
    return queue_figures(session, heard_within_seconds=_MISSED_BEATS * parts().settings.heartbeat_seconds)
