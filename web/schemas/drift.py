"""What the API says of how answers change from week to week."""

from __future__ import annotations

from marshmallow import fields

from web.schemas.shapes import Answer, text, texts


class DriftReference(Answer):
    """The figures that a model's card gives."""

    split = text("Which split they were counted on.")
    images = fields.Integer(required=True, metadata={"description": "How many images it has."})


class DriftFigure(Answer):
    """One figure of one week."""

    name = text("What was counted.")
    count = fields.Integer(required=True, metadata={"description": "What it was counted among."})
    value = fields.Float(required=True, allow_none=True, metadata={"description": "0 to 1; null: nothing to count."})
    expected = fields.Float(required=True, allow_none=True, metadata={"description": "The card's; null: it has none."})
    low = fields.Float(required=True, metadata={"description": "Lower end of what the card lets expect."})
    high = fields.Float(required=True, metadata={"description": "Upper end."})
    outside = fields.Boolean(required=True, metadata={"description": "Whether it is outside; few are never judged."})


class DriftWeek(Answer):
    """One week of one model."""

    week = fields.Date(required=True, metadata={"description": "Its Monday (UTC)."})
    answers = fields.Integer(required=True, metadata={"description": "Stored answers."})
    figures = fields.List(fields.Nested(DriftFigure), required=True)


class ModelDrift(Answer):
    """One active model's weeks beside its card."""

    model = text("NAME/VERSION.")
    reference = fields.Nested(DriftReference, required=True, allow_none=True)
    compared = text(
        "Which radiographs are compared: of kinds those on which a fracture is suspected, if that is known."
    )
    sentences = texts("What of the last week is outside, a sentence each.")
    weeks = fields.List(fields.Nested(DriftWeek), required=True)


class Drift(Answer):
    """Whether models still answer as they did when they were judged."""

    models = fields.List(fields.Nested(ModelDrift), required=True)
