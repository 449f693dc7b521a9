"""The upload page, and the page of one submission, which needs no JavaScript to show how its files fare."""

from __future__ import annotations

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as Redirect

from core.pictures import MAX_FRAMES
from core.records.submissions import submission_state
from core.tables import Source
from web.openapi import tagged
from web.parameters import PlaceParameters, read
from web.parts import parts
from web.problems import NoFiles, wants_json
from web.received import take_upload
from web.repeated import answer_once
from web.submitted import time_left

blueprint = Blueprint("upload", __name__)

#: Files on one page of a submission.
_FILES = 100


@blueprint.get("/")
def upload_page() -> str:
    """Show the form."""
    return _page()


@blueprint.post("/submissions")
def post_submission() -> Response | Redirect:
    """Take an upload from the form, or from the page's script, which asks for JSON.

    Errors: 413 too many files, 422 none, 503 nothing could be recorded.
    """
    if wants_json():
        return answer_once(Source.WEB)
    try:
        intake = take_upload(Source.WEB)
    except NoFiles:
        return make_response(_page("Choose at least one file first."), 422)
    return redirect(url_for(".submission_page", submission_id=intake.arrivals[0].submission_id), 303)


@blueprint.get("/submissions/<id:submission_id>")
def submission_page(submission_id: int) -> Response:
    """Show how far a submission is, and where each of its files stands, a page of them at a time.

    Errors: 400 a parameter cannot be used, 404 there is no such submission.
    """
    after = read(PlaceParameters, request.args, strict=False).get("after", 0)
    with parts().database.reading() as session:
        submission = submission_state(session, submission_id, after=after, limit=_FILES)
        left = time_left(session, submission)
    page = render_template("submission.html", submission=submission, left=left, begun=bool(after))
    return tagged(make_response(page))


def _page(problem: str = "") -> str:
    return render_template("upload.html", settings=parts().settings, max_frames=MAX_FRAMES, problem=problem)
