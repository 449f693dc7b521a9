"""The queue page: what waits, runs and has ended, why what failed, how the workers are; and what to do about it."""

from __future__ import annotations

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from core import orders
from core.records.controls import INTAKE, LONGEST_NOTE
from core.records.figures import QueueFigures
from core.records.history import Bar, history
from core.records.priorities import set_priority
from core.records.results import get_radiograph
from core.words import counted
from web.identity import actor_words
from web.orders import CancelParameters, CauseParameters, PauseParameters, PriorityParameters
from web.parameters import read
from web.parts import parts
from web.plot import plotted

blueprint = Blueprint("queue", __name__)

HOURS, MINUTES_A_BAR = 6, 5


@blueprint.get("/queue")
def queue_page() -> str:
    """Show the figures."""
    bars = history_now()
    return render_template(
        "queue.html", figures=figures_now(), plot=plotted(bars), bars=bars, hours=HOURS, longest_note=LONGEST_NOTE
    )


@blueprint.post("/queue/retry")
def post_retry() -> Response:
    """Try again what failed, of one cause or all of it."""
    asked = read(CauseParameters, request.form)
    jobs = orders.retry(parts().database, parts().announce, actor=actor_words(), code=asked.get("code"))
    return _told(f"{counted(jobs, 'job waits', 'jobs wait')} again.")


@blueprint.post("/queue/cancel")
def post_cancel() -> Response:
    """Take back everything that waits.

    Errors: 422 it is not said that everything is meant.
    """
    read(CancelParameters, request.form)
    jobs = orders.cancel(parts().database, actor=actor_words())
    return _told(f"{counted(jobs, 'job was', 'jobs were')} cancelled.")


@blueprint.post("/queue/pause")
def post_pause() -> Response:
    """Pause the intake or workers."""
    asked = read(PauseParameters, request.form)
    orders.pause(
        parts().database, asked["target"], actor=actor_words(), host=asked.get("host"), note=asked.get("note", "")
    )
    words = "The intake is paused." if asked["target"] == INTAKE else "Paused; what is in hand is finished."
    return _told(words)


@blueprint.post("/queue/resume")
def post_resume() -> Response:
    """End a pause."""
    asked = read(PauseParameters, request.form)
    orders.resume(parts().database, parts().announce, asked["target"], actor=actor_words(), host=asked.get("host"))
    return _told("Resumed.")


@blueprint.post("/radiographs/<id:radiograph_id>/cancel")
def post_cancel_radiograph(radiograph_id: int) -> Response:
    """Take back what waits of one radiograph.

    Errors: 404 there is no such radiograph.
    """
    with parts().database.reading() as session:
        get_radiograph(session, radiograph_id)
    orders.cancel(parts().database, actor=actor_words(), radiograph_ids=[radiograph_id])
    return redirect(url_for("radiograph.radiograph_page", radiograph_id=radiograph_id), 303)


@blueprint.post("/submissions/<id:submission_id>/cancel")
def post_cancel_submission(submission_id: int) -> Response:
    """Take back what waits of a submission.

    Errors: 404 there is no such submission.
    """
    jobs = orders.cancel(parts().database, actor=actor_words(), submission=submission_id)
    flash(f"{counted(jobs, 'job was', 'jobs were')} cancelled. What other submissions want too goes on.")
    return redirect(url_for("upload.submission_page", submission_id=submission_id), 303)


@blueprint.post("/submissions/<id:submission_id>/priority")
def post_priority(submission_id: int) -> Response:
    """Set the priority of a submission.

    Errors: 404 there is no such submission.
    """
    asked = read(PriorityParameters, request.form)
    with parts().database.transaction() as session:
        jobs = set_priority(session, submission_id, asked["priority"], actor=actor_words())
    flash(f"The priority is {asked['priority']}; it counts for {counted(jobs, 'job that waits', 'jobs that wait')}.")
    return redirect(url_for("upload.submission_page", submission_id=submission_id), 303)


def figures_now() -> QueueFigures:
    """Return the figures of this moment."""
    return parts().overview.figures()


def history_now() -> list[Bar]:
    """Return what the last hours brought."""
    with parts().database.reading() as session:
        return history(session, hours=HOURS, minutes_a_bar=MINUTES_A_BAR)


def _told(words: str) -> Response:
    flash(words)
    return redirect(url_for(".queue_page"), 303)
