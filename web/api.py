"""The JSON API. Programs and the page's script read the same answers; errors are problem details (RFC 9457)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Response, request, url_for
from marshmallow import fields, validate

from core.records.details import answers_of, radiograph_facts, ways_in
from core.records.figures import QueueFigures
from core.records.likenesses import look_alikes
from core.records.models import ModelVersion, list_models, model_cards
from core.records.results import get_result
from core.records.reviews import reviews_for
from core.records.submissions import list_submissions, submission_state
from core.tables import Source
from web.openapi import PREFIX, PROBLEM_TYPE, Blueprint, Body, Problem, tagged
from web.pages import PLACES, page_of
from web.parameters import (
    DEFAULT_LIMIT,
    LARGEST_FILE_LIMIT,
    FilePageParameters,
    ListParameters,
    ModelParameters,
    SubmissionParameters,
)
from web.parts import parts
from web.problems import NothingToRetry
from web.queue import figures_now
from web.radiograph import ask, retry
from web.reader import possible_reader
from web.received import UPLOAD_FORM
from web.repeated import PARAMETER, answer_once
from web.schemas.queue import Queue
from web.schemas.radiographs import Asked, Models, Page, Radiograph, Retried
from web.schemas.submissions import Submission, Submissions
from web.submitted import told

blueprint = Blueprint("api", __name__, url_prefix=PREFIX)
_RADIOGRAPHS, _SUBMISSIONS, _MODELS, _QUEUE = ["Radiographs"], ["Submissions"], ["Models"], ["Queue"]


class AskBody(Body):
    """Which model is to be asked."""

    model = fields.String(
        required=True,
        validate=validate.Length(1, 1024),
        metadata={
            "description": "NAME/VERSION, or NAME for its active version, or else its newest one that is installed."
        },
    )

    class Meta:
        """For the document."""

        description = "Which model is to be asked."


@blueprint.post("/radiographs", tags=_RADIOGRAPHS)
@blueprint.doc(
    parameters=[PARAMETER],
    requestBody=UPLOAD_FORM,
    responses={
        "422": {
            "description": "No file was accepted, with the reason for each; or none was sent, or under a used key.",
            "content": {"application/json": {"schema": Submission}, PROBLEM_TYPE: {"schema": Problem}},
        }
    },
)
@blueprint.response(202, Submission, description="At least one file was accepted; `files` says what of each.")
def post_radiographs() -> Response:
    """Upload one or many files.

    When this answers 202, the accepted files are safe. The same bytes again are answered with what is stored: an upload
    that was cut off can be sent again as a whole.
    """
    return answer_once(Source.API)


@blueprint.get("/radiographs", tags=_RADIOGRAPHS)
@blueprint.arguments(ListParameters, location="query")
@blueprint.response(200, Page)
def get_radiographs(asked: dict[str, Any]) -> dict[str, Any]:
    """List results, newest first.

    `next` is the address of the following page with the same filters. Results that come in meanwhile shift no page.
    """
    with parts().database.reading() as session:
        page = page_of(session, asked)
    following = None
    if page.following:
        kept = {name: value for name, value in request.args.items() if value.strip() and name not in PLACES}
        following = url_for(".get_radiographs", **kept, **page.following)  # type: ignore[arg-type]
    return {"radiographs": page.results, "next": following}


@blueprint.get("/radiographs/<id:radiograph_id>", tags=_RADIOGRAPHS)
@blueprint.arguments(ModelParameters, location="query")
@blueprint.response(200, Radiograph)
def get_one(asked: dict[str, Any], radiograph_id: int) -> dict[str, Any]:
    """Return one radiograph with every model's answer, every arrival and every review.

    Who may still have to read it second, blind, sees that others reviewed it and not what they said (`hidden`).
    """
    with parts().database.reading() as session:
        result = get_result(session, radiograph_id, model=asked.get("model"))
        facts = radiograph_facts(session, radiograph_id)
        answers, arrivals = answers_of(session, radiograph_id), ways_in(session, radiograph_id)
        reviews = reviews_for(session, radiograph_id, possible_reader())
        alike = look_alikes(session, radiograph_id)
    said = {"models": answers, "arrivals": arrivals, "reviews": reviews, "looks_like": alike}
    return {**vars(facts), **vars(result), **said}


@blueprint.post("/radiographs/<id:radiograph_id>/retry", tags=_RADIOGRAPHS)
@blueprint.response(202, Retried)
def post_retry(radiograph_id: int) -> dict[str, Any]:
    """Send what failed, was set aside or was cancelled back to waiting; 409 where nothing of it has ended that way."""
    jobs = retry(radiograph_id)
    if not jobs:
        raise NothingToRetry
    return {"id": radiograph_id, "jobs": jobs}


@blueprint.post("/radiographs/<id:radiograph_id>/classify", tags=_RADIOGRAPHS)
@blueprint.arguments(AskBody, location="json")
@blueprint.response(202, Asked)
def post_classify(asked: dict[str, Any], radiograph_id: int) -> dict[str, Any]:
    """Have it classified by one more model, an inactive one too.

    Asked again, this changes nothing and says where the job stands; 409 where the model's bundle is not installed.
    """
    return {"id": radiograph_id, **vars(ask(radiograph_id, asked["model"]))}


@blueprint.get("/submissions", tags=_SUBMISSIONS)
@blueprint.arguments(SubmissionParameters, location="query")
@blueprint.response(200, Submissions)
def get_submissions(asked: dict[str, Any]) -> dict[str, Any]:
    """List submissions, newest first."""
    limit = asked.get("limit", DEFAULT_LIMIT)
    with parts().database.reading() as session:
        found = list_submissions(session, **{**asked, "limit": limit + 1})
    following = None
    if len(found) > limit:
        kept = {name: value for name, value in asked.items() if name != "before_id"}
        following = url_for(".get_submissions", **kept, before_id=found[limit - 1].id)
    return {"submissions": found[:limit], "next": following}


@blueprint.get("/submissions/<id:submission_id>", tags=_SUBMISSIONS)
@blueprint.arguments(FilePageParameters, location="query")
@blueprint.response(200, Submission)
def get_submission(asked: dict[str, Any], submission_id: int) -> dict[str, Any]:
    """Return one submission, how far it is, and where each of its files stands, a page of them at a time.

    Ask again with `If-None-Match`: while nothing has changed, the answer is an empty 304.
    """
    page = {"after": asked.get("after", 0), "limit": asked.get("limit", LARGEST_FILE_LIMIT)}
    with parts().database.reading() as session:
        return told(session, submission_state(session, submission_id, **page))


@blueprint.get("/models", tags=_MODELS)
@blueprint.response(200, Models)
def get_models() -> dict[str, Any]:
    """List model versions with their cards."""
    with parts().database.reading() as session:
        versions, cards = list_models(session), model_cards(session)
    return {"models": [_model(version, cards[version.id]) for version in versions]}


def _model(version: ModelVersion, card: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **vars(version),
        "model": version.full_name,
        "card_sha256": version.sha256,
        "labels": card.get("labels", ()),
        "card": card,
    }


@blueprint.get("/queue", tags=_QUEUE)
@blueprint.response(200, Queue)
def get_queue() -> tuple[QueueFigures, int, dict[str, str]]:
    """Return the queue's figures.

    The tag (`ETag`) stays the same while nothing happens but that time passes: a page that asks again gets a 304.
    """
    figures = figures_now()
    return figures, 200, {"ETag": f'W/"{figures.tag()}"'}


blueprint.after_request(tagged)
