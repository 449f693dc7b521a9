"""Whether models still answer as they did when they were judged: a page, and the same for programs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any

from flask import Blueprint, render_template
from sqlalchemy.orm import Session

from core.database import now
from core.drift import LEAST_COUNT, Reference, Week, sentences, weeks_of
from core.records.agreement import weekly_disagreement
from core.records.fractures import FRACTURE_TASK
from core.records.models import ModelVersion, list_models, model_cards
from core.records.suspected import weekly_suspected
from core.records.tallies import monday_of, weekly
from web.openapi import PREFIX, tagged
from web.openapi import Blueprint as DescribedBlueprint
from web.parts import parts
from web.schemas.drift import Drift

blueprint = Blueprint("drift", __name__)
described = DescribedBlueprint("drifts", __name__, url_prefix=PREFIX)
described.after_request(tagged)

#: What is looked back on: this week and those before it.
_WEEKS = 8


@dataclass(frozen=True)
class ModelWeeks:
    """One model's weeks beside its card."""

    model: ModelVersion
    reference: Reference | None
    weeks: list[Week]
    sentences: list[str]  # what of the last week is outside
    compared: str  # which radiographs, a sentence


@blueprint.get("/drift")
def drift_page() -> str:
    """Show each active model's weeks beside its card."""
    return render_template("drift.html", models=_active_models(), least=LEAST_COUNT)


@described.get("/drift", tags=["Models"])
@described.response(200, Drift)
def get_drift() -> dict[str, Any]:
    """Say how the active models answered week by week, beside their cards."""
    return {
        "models": [
            {
                "model": each.model.full_name,
                "reference": each.reference,
                "compared": each.compared,
                "sentences": each.sentences,
                "weeks": [
                    {"week": week.monday, "answers": week.answers, "figures": week.figures} for week in each.weeks
                ],
            }
            for each in _active_models()
        ]
    }


def _active_models() -> list[ModelWeeks]:
    with parts().database.reading() as session:
        cards = model_cards(session)
        active = [model for model in list_models(session) if model.active]
        binary = max(
            (model for model in active if model.task == FRACTURE_TASK), key=lambda model: model.id, default=None
        )
        return [_weeks(session, model, cards[model.id], binary) for model in active]


def _weeks(session: Session, model: ModelVersion, card: dict[str, Any], binary: ModelVersion | None) -> ModelWeeks:
    since = monday_of(now(session).date()) - timedelta(weeks=_WEEKS - 1)
    reference = Reference.of(card)
    if model.task == FRACTURE_TASK or binary is None:
        tallies, judge = weekly(session, model.id, since=since), None
    else:
        tallies, judge = weekly_suspected(session, model.id, binary.id, since=since), binary.id
    begin = datetime.combine(since, time(), UTC)
    weeks = weeks_of(reference, tallies, weekly_disagreement(session, model.full_name, since=begin, suspected_by=judge))
    return ModelWeeks(model, reference, weeks, sentences(weeks, reference), _compared(model, binary))


def _compared(model: ModelVersion, binary: ModelVersion | None) -> str:
    if model.task == FRACTURE_TASK:
        return "Compared are all radiographs that it answered."
    if binary is None:
        return (
            "Compared are all radiographs that it answered, unbroken bones too, of which its card knows none: no model "
            "of the binary question is active that would tell them apart."
        )
    return (
        f"Compared are only radiographs on which {binary.full_name} suspects a fracture: its card is about broken "
        "bones, and it names a kind for the others too."
    )
