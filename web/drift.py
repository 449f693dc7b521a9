"""Whether models still answer as they did when they were judged: a page, and the same for programs."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Any

from flask import Blueprint, render_template
from sqlalchemy.orm import Session

from core.database import now
from core.drift import LEAST_COUNT, Reference, Week, sentences, weeks_of
from core.records.agreement import weekly_disagreement
from core.records.models import ModelVersion, list_models, model_cards
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
                "model": model.full_name,
                "reference": reference,
                "sentences": sentences(weeks, reference),
                "weeks": [{"week": week.monday, "answers": week.answers, "figures": week.figures} for week in weeks],
            }
            for model, reference, weeks, _ in _active_models()
        ]
    }


def _active_models() -> list[tuple[ModelVersion, Reference | None, list[Week], list[str]]]:
    with parts().database.reading() as session:
        cards = model_cards(session)
        return [_weeks(session, model, cards[model.id]) for model in list_models(session) if model.active]


def _weeks(
    session: Session, model: ModelVersion, card: dict[str, Any]
) -> tuple[ModelVersion, Reference | None, list[Week], list[str]]:
    since = monday_of(now(session).date()) - timedelta(weeks=_WEEKS - 1)
    reference = Reference.of(card)
    weeks = weeks_of(
        reference,
        weekly(session, model.id, since=since),
        weekly_disagreement(session, model.full_name, since=datetime.combine(since, time(), UTC)),
    )
    return model, reference, weeks, sentences(weeks, reference)
