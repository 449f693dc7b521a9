"""One radiograph: the image, what each model said of it and how sure it was, and how it came in."""

from __future__ import annotations

from flask import Blueprint, redirect, render_template, url_for
from werkzeug.wrappers import Response

from core.orders import ring_for
from core.records.details import answers_of, radiograph_facts, ways_in
from core.records.fractures import FRACTURE_TASK, affirms
from core.records.jobs import RETRYABLE, retry_jobs
from core.records.likenesses import look_alikes
from core.records.results import get_radiograph
from core.tables import ENDED, JobStatus
from web.identity import actor_words
from web.parts import parts

blueprint = Blueprint("radiograph", __name__)


@blueprint.get("/radiographs/<id:radiograph_id>")
def radiograph_page(radiograph_id: int) -> str:
    """Show one radiograph.

    Errors: 404 there is no such radiograph.
    """
    with parts().database.reading() as session:
        facts = radiograph_facts(session, radiograph_id)
        answers, arrivals = answers_of(session, radiograph_id), ways_in(session, radiograph_id)
        alike = look_alikes(session, radiograph_id)
    current = [answer for answer in answers if answer.active] or answers
    binary = [answer.prediction for answer in current if answer.task == FRACTURE_TASK and answer.prediction]
    return render_template(
        "radiograph.html",
        radiograph=facts,
        current=current,
        unsuspected=bool(binary) and not affirms(binary[0].label),
        earlier=[answer for answer in answers if not answer.active] if any(a.active for a in answers) else [],
        mapped=[answer for answer in current if answer.prediction and answer.prediction.activation],
        unfinished=any(answer.status not in ENDED for answer in answers),
        waiting=any(answer.status == JobStatus.WAITING for answer in answers),
        retryable=any(answer.status in RETRYABLE for answer in answers),
        unreadable=any(answer.error and answer.error["code"] == "unreadable" for answer in answers),
        arrivals=arrivals,
        alike=alike,
    )


@blueprint.post("/radiographs/<id:radiograph_id>/retry")
def post_retry(radiograph_id: int) -> Response:
    """Classify again what failed, was set aside or was cancelled; the page then shows what is under way.

    Errors: 404 there is no such radiograph.
    """
    retry(radiograph_id)
    return redirect(url_for(".radiograph_page", radiograph_id=radiograph_id), 303)


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
