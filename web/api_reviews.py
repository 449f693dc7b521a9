"""The part of the JSON API with which programs review, and ask how far readers and models agree."""

from __future__ import annotations

from typing import Any

from marshmallow import fields, validate

from core.records.agreement import ModelFigures
from core.records.results import results_of
from core.records.reviews import Review, add_review, withdraw_last
from core.tables import FIRST, SECOND, ReviewKind
from web.identifiers import LARGEST
from web.identity import actor_words
from web.kinds import LONGEST_NOTE, Whole
from web.openapi import PREFIX, Blueprint, Body, tagged
from web.parts import parts
from web.reader import reader_name
from web.review import word_of
from web.review_figures import figures_so_far
from web.schemas.radiographs import Review as StoredReview
from web.schemas.reviews import ReviewFigures, Worklist
from web.worklists import WorklistParameters, upcoming

blueprint = Blueprint("reviews", __name__, url_prefix=PREFIX)
blueprint.after_request(tagged)
_REVIEWS = ["Reviews"]
_MOST = 100
_SEEN = (
    "The newest review of this reading that the reader knew of; 0: none. If there is a newer one, nothing is written "
    "(409)."
)


class ReviewBody(Body):
    """What is said of a radiograph."""

    class Meta:
        """For the document."""

        description = "What is said of a radiograph."

    kind = fields.Enum(
        ReviewKind,
        by_value=True,
        load_default=ReviewKind.LABELLED,
        validate=validate.NoneOf([ReviewKind.WITHDRAWN], error="cannot be said; take a review back with /reviews/undo"),
        metadata={"description": "labelled or unsure."},
    )
    label = fields.String(
        allow_none=True,
        load_default=None,
        metadata={"description": "With `labelled`: a kind of fracture, or not-fractured."},
    )
    note = fields.String(
        load_default="",
        validate=validate.Length(max=LONGEST_NOTE),
        metadata={"description": "In the reader's own words."},
    )
    reading = fields.Integer(
        strict=True, load_default=FIRST, validate=validate.OneOf([FIRST, SECOND]), metadata={"description": "1 or 2."}
    )
    seen = fields.Integer(
        strict=True,
        load_default=0,
        validate=validate.Range(0, LARGEST),
        metadata={"description": _SEEN},
    )


class WorklistPage(WorklistParameters):
    """How many are wanted."""

    limit = Whole("Most radiographs.", 1, _MOST, default=20)


@blueprint.post("/radiographs/<id:radiograph_id>/reviews", tags=_REVIEWS)
@blueprint.arguments(ReviewBody, location="json")
@blueprint.response(201, StoredReview)
def post_review(said: dict[str, Any], radiograph_id: int) -> Review:
    """Say what a radiograph shows; nothing is overwritten, and what was said before stays on record."""
    with parts().database.transaction() as session:
        word = word_of(session, radiograph_id, said, said["reading"])
        return add_review(
            session,
            radiograph_id,
            word,
            reading=said["reading"],
            reviewer=reader_name(),
            seen=said["seen"],
            actor=actor_words(),
        )


@blueprint.post("/reviews/undo", tags=_REVIEWS)
@blueprint.response(201, StoredReview)
def post_undo() -> Review:
    """Take your own last review back; it stays on record, as does this."""
    with parts().database.transaction() as session:
        return withdraw_last(session, reader_name(), actor=actor_words())


@blueprint.get("/worklist", tags=_REVIEWS)
@blueprint.arguments(WorklistPage, location="query")
@blueprint.response(200, Worklist)
def get_worklist(asked: dict[str, Any]) -> dict[str, Any]:
    """List what is to be reviewed next, likely errors first."""
    with parts().database.reading() as session:
        numbers = upcoming(session, asked, limit=asked.get("limit", 20))
        found = results_of(session, numbers)
    return {"radiographs": [found[number] for number in numbers]}


@blueprint.get("/reviews/figures", tags=_REVIEWS)
@blueprint.response(200, ReviewFigures)
def get_figures() -> dict[str, Any]:
    """Return how far models and readers agree on what was reviewed."""
    models, readers, disputed = figures_so_far()
    return {
        "models": [{"model": model.full_name, **_figures(figures)} for model, figures in models],
        "readers": readers,
        "discrepancies": disputed,
    }


def _figures(figures: ModelFigures) -> dict[str, Any]:
    return {
        **vars(figures),
        "per_source": {source.value: share for source, share in figures.per_source.items()},
        "confusion": [
            {"said": said, "answered": answered, "radiographs": count}
            for (said, answered), count in figures.confusion.items()
        ],
    }
