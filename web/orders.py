"""What orders may say: as form fields from the page, as JSON from programs."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, ValidationError, fields, pre_load, validates_schema

from core.records.controls import INTAKE, LONGEST_HOST, LONGEST_NOTE, WORKERS
from core.records.priorities import HIGHEST, LOWEST
from web.kinds import Choice, Number, Words
from web.openapi import Body
from web.problems import NothingNamed


class CauseParameters(Schema):
    """Which failures."""

    class Meta:
        """For the document."""

        description = "Which failures."

    code = Words("Only of this cause, also what pauses for it; else everything that failed.", 64)


class CancelParameters(Body):
    """That everything is meant: an empty body is a slip, and would take back the work of a whole night."""

    class Meta:
        """For the document."""

        description = "That everything is meant."

    all = fields.Boolean(
        required=True, metadata={"description": "True: everything that waits; there is no other order.", "enum": [True]}
    )

    @pre_load
    def _meant(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        if data.get("all") is not True and data.get("all") != "true":  # as a form says it
            raise NothingNamed
        return data


class PauseParameters(Schema):
    """What is paused or resumed."""

    class Meta:
        """For the document."""

        description = "What is paused or resumed."

    target = Choice([INTAKE, WORKERS], "The intake (inbox and uploads), or the workers.", required=True)
    host = Words("Of workers: only those of this machine.", LONGEST_HOST)
    note = Words("Why.", LONGEST_NOTE)

    @validates_schema
    def _belong_together(self, data: dict[str, Any], **_: Any) -> None:
        if data["target"] == INTAKE and data.get("host"):
            raise ValidationError("belongs to workers only", "host")


class PriorityParameters(Schema):
    """How urgent a submission is."""

    class Meta:
        """For the document."""

        description = "How urgent a submission is."

    priority = Number("Higher goes first; uploads have 10, bulk work 0.", LOWEST, HIGHEST)
