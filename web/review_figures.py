"""How far model and readers agree, on a page of its own."""

from __future__ import annotations

from flask import Blueprint, render_template

from core.records.agreement import ModelFigures, ReaderFigures, discrepancies, model_figures, reader_figures
from core.records.fractures import FRACTURE_TASK
from core.records.models import ModelVersion, list_models, model_cards
from web.parts import parts

blueprint = Blueprint("review_figures", __name__)

#: Discrepancies listed at once.
_MOST = 200


@blueprint.get("/review/figures")
def figures_page() -> str:
    """Show each active model's figures on reviewed radiographs, and those of the readers."""
    models, readers, disputed = figures_so_far()
    return render_template("review_figures.html", models=models, readers=readers, disputed=disputed, most=_MOST)


def figures_so_far() -> tuple[list[tuple[ModelVersion, ModelFigures]], ReaderFigures, list[int]]:
    """Return the active models with their figures, those of the readers, and the radiographs they disagree on."""
    with parts().database.reading() as session:
        cards = model_cards(session)
        models = [
            (
                model,
                model_figures(
                    session,
                    model.id,
                    [str(label) for label in cards[model.id].get("labels", ())],
                    binary=model.task == FRACTURE_TASK,
                ),
            )
            for model in list_models(session)
            if model.active
        ]
        return models, reader_figures(session), discrepancies(session, limit=_MOST)
