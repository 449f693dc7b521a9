"""The lists that readers go through, as the review page and the API ask for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marshmallow import Schema
from sqlalchemy.orm import Session

from core.records.fractures import FRACTURE_TASK
from core.records.models import ModelVersion, list_models
from core.records.worklist import first_readings, place_before, place_of, second_readings
from core.tables import FIRST, SECOND
from web.kinds import Choice, Whole
from web.reader import reader_name

KIND, FRACTURE = "kind", "fracture"


class WorklistParameters(Schema):
    """Which list is gone through."""

    reading = Whole("1: with the model's answer in view; 2: without it, after somebody else's first reading.", 1, 2)
    question = Choice((KIND, FRACTURE), "Whose doubt gives the order: the model of kinds, or of fractured or not.")


def upcoming(session: Session, chosen: Mapping[str, Any], *, limit: int, after_id: int | None = None) -> list[int]:
    """Return what is to be reviewed next in the chosen list.

    Args:
        session: An open transaction.
        chosen: The parameters of `WorklistParameters` that are given.
        limit: Most radiographs.
        after_id: Only what comes after this radiograph.
    """
    if chosen.get("reading", FIRST) == SECOND:
        return second_readings(session, reader_name(), limit=limit, after_id=after_id or 0)
    model = _model(session, chosen)
    if model is None:
        return []
    place = None if after_id is None else place_of(session, after_id, model.id)
    return first_readings(session, model.id, limit=limit, after=place)


def following_after(session: Session, chosen: Mapping[str, Any], radiograph_id: int | None) -> int | None:
    """Return the radiograph that comes after another in the chosen list; after the last, the list's first."""
    found = upcoming(session, chosen, limit=1, after_id=radiograph_id) or upcoming(session, chosen, limit=2)
    return next((number for number in found if number != radiograph_id), None)


def before(session: Session, chosen: Mapping[str, Any], radiograph_id: int) -> int | None:
    """Return the radiograph that comes before another in the order of doubt, reviewed or not."""
    model = _model(session, chosen)
    if chosen.get("reading", FIRST) == SECOND or model is None:
        return None
    place = place_of(session, radiograph_id, model.id)
    return None if place is None else place_before(session, model.id, place)


def _model(session: Session, chosen: Mapping[str, Any]) -> ModelVersion | None:
    """Return the active model whose doubt gives the order: of the question asked, or the only one there is."""
    active = [model for model in list_models(session) if model.active]
    wanted = chosen.get("question", KIND) == FRACTURE
    fitting = [model for model in active if (model.task == FRACTURE_TASK) == wanted]
    return next(iter(fitting or active), None)
