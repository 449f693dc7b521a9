"""What the API says to probes."""

from __future__ import annotations

from marshmallow import fields

from web.schemas.shapes import Answer, text, texts


class Health(Answer):
    """That the process lives."""

    status = text("ok")


class Readiness(Answer):
    """Whether it can do its work."""

    status = text("ready or unavailable")
    checks = fields.Dict(fields.String(), fields.Boolean(), required=True, metadata={"description": "Check to passed."})
    reasons = texts("A sentence for each check that failed.")
