"""What orders may say: as form fields from the page, as JSON from programs."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, ValidationError, validates_schema

from core.records.controls import INTAKE, LONGEST_HOST, LONGEST_NOTE, WORKERS
from core.records.priorities import HIGHEST, LOWEST
from web.kinds import Choice, Number, Words


class CauseParameters(Schema):
    """Which failures."""

    class Meta:
        """For the document."""

        description = "Which failures."

    code = Words("Only of this cause, also what pauses for it; else everything that failed.", 64)


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
