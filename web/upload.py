"""The upload page, and the page of one submission, which needs no JavaScript to show how its files fare."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, make_response, redirect, render_template, url_for
from werkzeug.wrappers import Response as Redirect

from core.images import MAX_FRAMES
from core.records.intake import Intake
from core.records.submissions import SubmissionState, submission_state
from core.tables import ArrivalStatus, Source
from web.parts import parts
from web.problems import NoFiles, wants_json
from web.received import take_upload
from web.schemas import Submission

blueprint = Blueprint("upload", __name__)


@blueprint.get("/")
def upload_page() -> str:
    """Show the form."""
    return _page()


@blueprint.post("/submissions")
def post_submission() -> Response | Redirect:
    """Take an upload from the form, or from the page's script, which asks for JSON.

    Errors: 413 too many files, 422 none, 503 nothing could be recorded.
    """
    try:
        intake = take_upload(Source.WEB)
    except NoFiles:
        if wants_json():
            raise
        return make_response(_page("Choose at least one file first."), 422)
    if wants_json():
        return answer_upload(intake)
    return redirect(url_for(".submission_page", submission_id=intake.arrivals[0].submission_id), 303)


@blueprint.get("/submissions/<id:submission_id>")
def submission_page(submission_id: int) -> str:
    """Show where each file of a submission stands.

    Errors: 404 there is no such submission.
    """
    with parts().database.reading() as session:
        submission = submission_state(session, submission_id)
    return render_template("submission.html", submission=submission)


def answer_upload(intake: Intake) -> Response:
    """Answer an upload per file: 202 when any was accepted, else 422."""
    submission = _state_after(intake)
    answer = jsonify(Submission().dump(submission))
    accepted = any(file.status == ArrivalStatus.ACCEPTED for file in submission.files)
    answer.status_code = 202 if accepted else 422
    answer.headers["Location"] = url_for("api.get_submission", submission_id=submission.id)
    return answer


def _state_after(intake: Intake) -> SubmissionState:
    with parts().database.reading() as session:
        return submission_state(
            session, intake.arrivals[0].submission_id, arrival_ids=[arrival.id for arrival in intake.arrivals]
        )


def _page(problem: str = "") -> str:
    return render_template("upload.html", settings=parts().settings, max_frames=MAX_FRAMES, problem=problem)
