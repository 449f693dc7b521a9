"""The list of results: filters, thumbnails, keyset pages. Every link carries the filters and can be kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import Blueprint, render_template, request, url_for
from sqlalchemy.orm import Session

from core.answers import DOUBTFUL, UNLIKE_RADIOGRAPHS
from core.plausibility import WORDS
from core.records.filters import Order
from core.records.models import list_models, model_cards
from core.tables import JobStatus, Source
from web.pages import PLACES, page_of
from web.parameters import DEFAULT_LIMIT, FILTER_NAMES, ListParameters, read
from web.parts import parts
from web.words import flag_words, label_words, source_words, status_words

blueprint = Blueprint("results", __name__)

#: Offered as least confidence; any other number in an address works too.
_USUAL = ("label", "min_confidence", "status", "order")
_CONFIDENCES = ("0.5", "0.7", "0.8", "0.9", "0.95", "0.99")


@dataclass(frozen=True)
class Choice:
    """One drop-down list of the filter form."""

    name: str  # of the parameter
    title: str
    blank: str  # what no choice means
    options: list[tuple[str, str]]  # value and words

    @property
    def usual(self) -> bool:
        """Whether it is always in view."""
        return self.name in _USUAL


@blueprint.get("/results")
def results_page() -> str:
    """List results, newest first.

    Errors: 400 a parameter cannot be used, 404 there is no such model.
    """
    asked = read(ListParameters, request.args, strict=False)
    kept: dict[str, Any] = {
        name: request.args[name] for name in (*FILTER_NAMES, "order") if request.args.get(name, "").strip()
    }
    with parts().database.reading() as session:
        page = page_of(session, {**asked, "limit": DEFAULT_LIMIT})
        choices = _choices(session, kept)
    begun = any(name in asked for name in PLACES)
    return render_template(
        "results.html",
        results=page.results,
        kept=kept,
        choices=choices,
        following=url_for(".results_page", **{**kept, **page.following}) if page.following else None,
        first=url_for(".results_page", **kept) if begun else None,
        order=asked.get("order", Order.NEWEST),
        exported={name: value for name, value in kept.items() if name != "order"},
    )


def _choices(session: Session, kept: dict[str, Any]) -> list[Choice]:
    """Return the lists of the form; a value from the address that is not offered is added, so that it is not lost."""
    models, cards = list_models(session), model_cards(session)
    wanted = kept.get("model")
    asked = [model for model in models if wanted in (None, model.name, model.full_name)]
    labels = list(dict.fromkeys(str(label) for model in asked for label in cards[model.id].get("labels", ())))
    choices = [
        Choice("label", "Answer", "any", [(label, label_words(label)) for label in labels]),
        Choice(
            "min_confidence", "Confidence at least", "any", [(share, f"{float(share):.0%}") for share in _CONFIDENCES]
        ),
        Choice("status", "Status", "any", [(status.value, status_words(status)) for status in JobStatus]),
        Choice("source", "Came from", "anywhere", [(source.value, source_words(source)) for source in Source]),
        Choice("flag", "Flag", "any", [(flag, flag_words(flag)) for flag in (DOUBTFUL, UNLIKE_RADIOGRAPHS, *WORDS)]),
        Choice("in_set", "Not ruled out", "any", [(label, label_words(label)) for label in labels]),
        Choice("reviewed", "Reviewed", "either", [("yes", "yes"), ("no", "not yet")]),
        Choice("agreed", "Reviewer", "any", [("yes", "agreed"), ("no", "said otherwise")]),
        Choice("model", "Model", "fracture type", [(model.full_name, model.full_name) for model in models]),
    ]
    choices.append(
        Choice("order", "Order", "newest first", [("doubt", "least sure first"), ("confidence", "surest first")])
    )
    for choice in choices:
        given = kept.get(choice.name)
        if given is not None and given not in dict(choice.options):
            choice.options.append((given, given))
    return choices
