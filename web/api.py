"""The JSON API. Programs and the page's script read the same answers; errors are problem details (RFC 9457)."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, jsonify, request, url_for

from core.records.details import answers_of, radiograph_facts, ways_in
from core.records.models import list_models, model_cards
from core.records.results import get_result, list_results
from core.records.submissions import submission_state
from core.tables import Source
from web.documents import listed_document, model_document, radiograph_document, submission_document
from web.parameters import (
    DEFAULT_LIMIT,
    FILTER_NAMES,
    LARGEST_LIMIT,
    read_filters,
    read_whole,
    refuse_unknown,
)
from web.parts import parts
from web.problems import NothingToRetry
from web.queue import figures_now
from web.radiograph import retry
from web.received import take_upload
from web.upload import answer_upload

blueprint = Blueprint("api", __name__, url_prefix="/api/v1")


@blueprint.post("/radiographs")
def post_radiographs() -> Response:
    """Take one or many files (multipart, field `files`); answer per file.

    Errors: 413 too many files, 422 none or none accepted, 503 nothing could be recorded.
    """
    return answer_upload(take_upload(Source.API))


@blueprint.get("/radiographs")
def get_radiographs() -> Response:
    """List results, newest first; `next` is the address of the following page, or null.

    Errors: 400 a parameter cannot be used, 404 there is no such model.
    """
    refuse_unknown(request.args, *FILTER_NAMES, "limit", "before_id")
    filters, before_id = read_filters(request.args), read_whole(request.args, "before_id", 1)
    limit = read_whole(request.args, "limit", 1, LARGEST_LIMIT) or DEFAULT_LIMIT
    with parts().database.reading() as session:
        found = list_results(session, filters, limit=limit + 1, before_id=before_id)
    following = None
    if len(found) > limit:
        found = found[:limit]
        kept: dict[str, Any] = {name: request.args[name] for name in (*FILTER_NAMES, "limit") if request.args.get(name)}
        following = url_for(".get_radiographs", **kept, before_id=found[-1].id)
    return jsonify(radiographs=[listed_document(result) for result in found], next=following)


@blueprint.get("/radiographs/<id:radiograph_id>")
def get_one(radiograph_id: int) -> Response:
    """Return one radiograph with every model's answer and every arrival.

    Errors: 400 an unknown parameter, 404 there is no such radiograph or model.
    """
    refuse_unknown(request.args, "model")
    model = read_filters(request.args).model
    with parts().database.reading() as session:
        result, facts = get_result(session, radiograph_id, model=model), radiograph_facts(session, radiograph_id)
        answers, arrivals = answers_of(session, radiograph_id), ways_in(session, radiograph_id)
    return jsonify(radiograph_document(result, facts, answers, arrivals))


@blueprint.post("/radiographs/<id:radiograph_id>/retry")
def post_retry(radiograph_id: int) -> tuple[Response, int]:
    """Send what failed, was set aside or was cancelled back to waiting.

    Errors: 404 there is no such radiograph, 409 nothing of it has ended that way.
    """
    jobs = retry(radiograph_id, actor="api")
    if not jobs:
        raise NothingToRetry
    return jsonify(id=radiograph_id, jobs=jobs, url=url_for(".get_one", radiograph_id=radiograph_id)), 202


@blueprint.get("/submissions/<id:submission_id>")
def get_submission(submission_id: int) -> Response:
    """Return one submission and where each of its files stands.

    Errors: 404 there is no such submission.
    """
    with parts().database.reading() as session:
        submission = submission_state(session, submission_id)
    return jsonify(submission_document(submission))


@blueprint.get("/models")
def get_models() -> Response:
    """List model versions with their cards."""
    with parts().database.reading() as session:
        versions, cards = list_models(session), model_cards(session)
    return jsonify(models=[model_document(version, cards[version.id]) for version in versions])


@blueprint.get("/queue")
def get_queue() -> Response:
    """Return the queue's figures."""
    with parts().database.reading() as session:
        figures = figures_now(session)
    return jsonify(figures.document())


@blueprint.after_request
def _tag(answer: Response) -> Response:
    """Let readers ask again cheaply: an unchanged answer is a 304 without a body."""
    if request.method in ("GET", "HEAD") and answer.status_code == 200:
        answer.add_etag()
        answer.make_conditional(request)
    return answer
