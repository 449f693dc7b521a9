"""Review: one radiograph at a time, likely errors first, by keyboard or pointer; every step is a plain form."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, flash, make_response, redirect, render_template, request, url_for
from marshmallow import Schema
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response as Redirect

from core.errors import Conflict
from core.records.models import list_models
from core.records.results import get_result
from core.records.reviews import (
    Word,
    add_review,
    review_labels,
    reviews_for,
    shown_label,
    withdraw_last,
)
from core.tables import FIRST, SECOND, ReviewKind
from web.identifiers import LARGEST
from web.identity import actor_words
from web.kinds import Choice, Note, Whole, Words
from web.parameters import read
from web.parts import parts
from web.problems import BadParameter
from web.reader import LONGEST_NAME, call_reader, reader_name
from web.words import label_words
from web.worklists import KIND, WorklistParameters, before, following_after

blueprint = Blueprint("review", __name__, url_prefix="/review")

#: The keys of the choices, in the order of the labels; the last label, that nothing is broken, has its own.
_DIGITS = "1234567890"
_UNBROKEN_KEY = "x"


class WordForm(WorklistParameters):
    """What the reader says."""

    kind = Choice(("labelled", "unsure"), "What is said.")
    label = Words("The label, if there is one.", 64)
    note = Note("In the reader's own words.")
    seen = Whole("The newest review that the reader knew of; 0: none.", 0, LARGEST)


class NameForm(Schema):
    """How the reader wants to be called."""

    name = Words("Of the reader.", LONGEST_NAME)


@blueprint.get("")
def begin_page() -> Response | Redirect:
    """Go to the first radiograph of the list."""
    chosen = read(WorklistParameters, request.args, strict=False)
    with parts().database.reading() as session:
        following = following_after(session, chosen, None)
    if following is None:
        return make_response(render_template("review_done.html", **_list_words(chosen), reader=reader_name()))
    return redirect(_address(following, chosen), 303)


@blueprint.get("/<id:radiograph_id>")
def review_page(radiograph_id: int) -> str:
    """Show one radiograph to be reviewed.

    Errors: 404 there is no such radiograph.
    """
    return _page(radiograph_id, read(WorklistParameters, request.args, strict=False))


@blueprint.post("/<id:radiograph_id>")
def post_review(radiograph_id: int) -> Response | Redirect:
    """Keep what the reader said and go on to the next radiograph.

    Errors: 400 a field cannot be used, 404 there is no such radiograph, 409 somebody was faster.
    """
    asked = read(WordForm, request.form, strict=False)
    reading = asked.get("reading", FIRST)
    try:
        with parts().database.transaction() as session:
            word = word_of(session, radiograph_id, asked, reading)
            add_review(
                session,
                radiograph_id,
                word,
                reading=reading,
                reviewer=reader_name(),
                seen=asked.get("seen", 0),
                actor=actor_words(),
            )
    except Conflict as problem:
        return make_response(_page(radiograph_id, asked, problem=str(problem)), 409)
    said = "unsure" if word.label is None else label_words(word.label).lower()
    flash(f"Kept: {said}, for radiograph {radiograph_id}.")
    with parts().database.reading() as session:
        following = following_after(session, asked, radiograph_id)
    if following is None:
        return redirect(url_for(".begin_page", **_kept(asked)), 303)
    return redirect(_address(following, asked), 303)


@blueprint.post("/undo")
def post_undo() -> Redirect:
    """Take the reader's last review back and show that radiograph again.

    Errors: 404 there is none.
    """
    asked = read(WorklistParameters, request.form, strict=False)
    with parts().database.transaction() as session:
        withdrawn = withdraw_last(session, reader_name(), actor=actor_words())
    flash(f"Taken back: your review of radiograph {withdrawn.radiograph_id}.")
    return redirect(_address(withdrawn.radiograph_id, {**asked, "reading": withdrawn.reading}), 303)


@blueprint.post("/reader")
def post_reader() -> Redirect:
    """Call the reader by another name.

    Errors: 400 the name cannot be used.
    """
    call_reader(read(NameForm, request.form, strict=False).get("name", ""))
    return redirect(url_for(".begin_page", **_kept(read(WorklistParameters, request.form, strict=False))), 303)


def word_of(session: Session, radiograph_id: int, asked: dict[str, Any], reading: int) -> Word:
    """Return what is said of a radiograph, with what was shown of the model.

    Raises:
        BadParameter: The label is none that readers can choose, or says nothing.
        NotFound: There is no such radiograph.
    """
    label, kind = asked.get("label"), ReviewKind(asked.get("kind", ReviewKind.LABELLED))
    labels = review_labels(session)
    if kind == ReviewKind.LABELLED and label not in labels:
        raise BadParameter(f"The label is none of {', '.join(labels)}.")
    result = get_result(session, radiograph_id) if reading == FIRST else None
    return Word(
        kind=kind,
        label=label if kind == ReviewKind.LABELLED else None,
        note=asked.get("note", ""),
        model=None if result is None else result.model,
        shown=None if result is None else shown_label(result),
    )


def _page(radiograph_id: int, chosen: dict[str, Any], *, problem: str = "") -> str:
    reading = chosen.get("reading", FIRST)
    with parts().database.reading() as session:
        result = get_result(session, radiograph_id)
        labels = review_labels(session)
        standing = next(
            (
                review
                for review in reversed(reviews_for(session, radiograph_id, reader_name()))
                if review.reading == reading
            ),
            None,
        )
        following = following_after(session, chosen, radiograph_id)
        earlier = before(session, chosen, radiograph_id)
    kinds = labels[:-1]
    keys = {label: _DIGITS[number] if number < len(_DIGITS) else "" for number, label in enumerate(kinds)}
    return render_template(
        "review.html",
        result=result,
        proposed=shown_label(result) if reading == FIRST else None,
        blind=reading == SECOND,
        choices=[*((label, keys[label]) for label in kinds), (labels[-1], _UNBROKEN_KEY)],
        standing=standing if standing and standing.kind != ReviewKind.WITHDRAWN else None,
        seen=standing.id if standing else 0,
        following=None if following is None else _address(following, chosen),
        following_id=following,
        before=None if earlier is None else _address(earlier, chosen),
        problem=problem,
        reader=reader_name(),
        **_list_words(chosen),
    )


def _list_words(chosen: dict[str, Any]) -> dict[str, Any]:
    with parts().database.reading() as session:
        tasks = {model.task for model in list_models(session) if model.active}
    return {
        "reading": chosen.get("reading", FIRST),
        "question": chosen.get("question", KIND),
        "two_questions": len(tasks) > 1,
    }


def _kept(chosen: dict[str, Any]) -> dict[str, Any]:
    return {name: chosen[name] for name in WorklistParameters().fields if name in chosen}


def _address(radiograph_id: int, chosen: dict[str, Any]) -> str:
    return url_for(".review_page", radiograph_id=radiograph_id, **_kept(chosen))
