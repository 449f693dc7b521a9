"""What the API says of the worklist and of how models and readers agree."""

from __future__ import annotations

from marshmallow import fields

from web.schemas.radiographs import Listed
from web.schemas.shapes import Answer, number, text, whole


class Worklist(Answer):
    """What is to be reviewed next, in this order."""

    radiographs = fields.List(fields.Nested(Listed), required=True)


class Share(Answer):
    """A share of some."""

    right = whole("So many of them.")
    all = whole("All of them.")
    share = number("The share, 0 to 1; null of none.", allow_none=True)
    interval = fields.List(
        fields.Float(), required=True, allow_none=True, metadata={"description": "Its 95 % interval (Wilson)."}
    )


class Confusion(Answer):
    """How often readers said one thing and the model another, or the same."""

    said = text("By the reader.")
    answered = text("By the model.")
    radiographs = whole("How many.")


class ReviewedModel(Answer):
    """One active model on the radiographs that were reviewed. They are chosen by doubt, not at random."""

    model = text("NAME/VERSION.")
    accuracy = fields.Nested(Share, required=True)
    per_label = fields.Dict(fields.String(), fields.Nested(Share), required=True, metadata={"description": "By truth."})
    per_source = fields.Dict(fields.String(), fields.Nested(Share), required=True, metadata={"description": "By door."})
    confusion = fields.List(fields.Nested(Confusion), required=True)


class Readers(Answer):
    """First against second readings of the same radiographs."""

    pairs = whole("Radiographs that were read twice.")
    agreed = whole("Those read alike.")
    kappa = number("Cohen's kappa; null where it is undefined.", allow_none=True)


class ReviewFigures(Answer):
    """How far models and readers agree."""

    models = fields.List(fields.Nested(ReviewedModel), required=True)
    readers = fields.Nested(Readers, required=True)
    discrepancies = fields.List(
        fields.Integer(),
        required=True,
        metadata={"description": "Radiographs on which two readers differ (at most 200)."},
    )
