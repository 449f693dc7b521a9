"""One radiograph: the image, what each model said of it and how sure it was, what people said, and what happened."""

from __future__ import annotations

from flask import Blueprint, redirect, render_template, request, url_for
from marshmallow import Schema
from werkzeug.wrappers import Response

from core.orders import ring_for
from core.records.asking import Asked, ask_model, models_not_asked
from core.records.details import answers_of, radiograph_facts, ways_in
from core.records.fractures import FRACTURE_TASK, affirms
from core.records.jobs import RETRYABLE, retry_jobs
from core.records.likenesses import look_alikes
from core.records.results import get_radiograph
from core.records.reviews import may_read_second, reviews_for
from core.records.trail import history_of
from core.tables import ENDED, FIRST, JobStatus
from web.explained import chance_sentence, decision_sentence, preparation_sentence, scaling_sentence, set_sentence
from web.identity import actor_words
from web.kinds import Words
from web.parameters import read
from web.parts import parts
from web.reader import possible_reader
from web.trail import by_whom, what_happened

blueprint = Blueprint("radiograph", __name__)
for _words in (chance_sentence, decision_sentence, set_sentence, preparation_sentence, scaling_sentence):
    blueprint.add_app_template_filter(_words)
for _event_words in (by_whom, what_happened):
    blueprint.add_app_template_filter(_event_words)

#: The newest ones that the page lists; a file that comes again every minute has no end of them.
_MOST_EVENTS = 100


class AskForm(Schema):
    """Which model is to be asked."""

    model = Words("NAME/VERSION, or NAME alone.", required=True)


@blueprint.get("/radiographs/<id:radiograph_id>")
def radiograph_page(radiograph_id: int) -> str:
    """Show one radiograph.

    Errors: 404 there is no such radiograph.
    """
    with parts().database.reading() as session:
        facts = radiograph_facts(session, radiograph_id)
        answers, arrivals = answers_of(session, radiograph_id), ways_in(session, radiograph_id)
        alike = look_alikes(session, radiograph_id)
        reader = possible_reader()
        reviews = reviews_for(session, radiograph_id, reader)
        second = reader is not None and may_read_second(session, radiograph_id, reader)
        history = history_of(session, radiograph_id, limit=_MOST_EVENTS + 1)
        askable = models_not_asked(session, radiograph_id)
    newest = {review.reading: review.id for review in reviews}
    current = [answer for answer in answers if answer.active] or answers
    binary = [answer.prediction for answer in current if answer.task == FRACTURE_TASK and answer.prediction]
    return render_template(
        "radiograph.html",
        radiograph=facts,
        current=current,
        unsuspected=bool(binary) and not affirms(binary[0].label),
        others=[answer for answer in answers if not answer.active] if any(a.active for a in answers) else [],
        mapped=[answer for answer in current if answer.prediction and answer.prediction.activation],
        unfinished=any(answer.status not in ENDED for answer in answers),
        waiting=any(answer.status == JobStatus.WAITING for answer in answers),
        retryable=facts.original_deleted_at is None and any(answer.status in RETRYABLE for answer in answers),
        unreadable=any(answer.error and answer.error["code"] == "unreadable" for answer in answers),
        arrivals=arrivals,
        alike=alike,
        reviews=reviews,
        standing=set(newest.values()),
        second=second and FIRST in newest,
        history=history[:_MOST_EVENTS],
        longer=len(history) > _MOST_EVENTS,
        askable=askable,
    )


@blueprint.post("/radiographs/<id:radiograph_id>/retry")
def post_retry(radiograph_id: int) -> Response:
    """Classify again what failed, was set aside or was cancelled; the page then shows what is under way.

    Errors: 404 there is no such radiograph.
    """
    retry(radiograph_id)
    return redirect(url_for(".radiograph_page", radiograph_id=radiograph_id), 303)


@blueprint.post("/radiographs/<id:radiograph_id>/classify")
def post_classify(radiograph_id: int) -> Response:
    """Ask another model, an inactive one too; the page then shows what is under way.

    Errors: 400 no model is named, 404 there is no such radiograph or model, 409 the model is not installed.
    """
    ask(radiograph_id, read(AskForm, request.form, strict=False)["model"])
    return redirect(url_for(".radiograph_page", radiograph_id=radiograph_id), 303)


def ask(radiograph_id: int, model: str) -> Asked:
    """Have a radiograph classified by a model that has not been asked yet, and ring.

    Raises:
        NotFound: There is no such radiograph or model.
        ModelNotInstalled: The model's bundle is gone.
    """
    with parts().database.transaction() as session:
        asked = ask_model(session, radiograph_id, model, actor=actor_words())
    ring_for(parts().announce, int(asked.new))
    return asked


def retry(radiograph_id: int) -> list[int]:
    """Send a radiograph's ended jobs back to waiting and ring; return them.

    A broker that is away changes nothing: the work waits in the database and is announced later.

    Raises:
        NotFound: There is no such radiograph.
    """
    with parts().database.transaction() as session:
        get_radiograph(session, radiograph_id)
        jobs = retry_jobs(session, actor=actor_words(), radiograph_ids=[radiograph_id])
    ring_for(parts().announce, len(jobs))
    return jobs
