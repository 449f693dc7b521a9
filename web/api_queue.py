"""The part of the JSON API that gives orders to the queue: try again, take back, pause, resume, first come others."""

from __future__ import annotations

from typing import Any

from core import orders
from core.records.controls import pauses
from core.records.priorities import set_priority
from core.records.results import get_radiograph
from web.identity import actor_words
from web.openapi import PREFIX, Blueprint, tagged
from web.orders import CancelParameters, CauseParameters, PauseParameters, PriorityParameters
from web.parts import parts
from web.queue import MINUTES_A_BAR, history_now
from web.schemas.queue import Changed, PauseChanged, QueueHistory

blueprint = Blueprint("orders", __name__, url_prefix=PREFIX)
blueprint.after_request(tagged)
_QUEUE, _RADIOGRAPHS, _SUBMISSIONS = ["Queue"], ["Radiographs"], ["Submissions"]


@blueprint.get("/queue/history", tags=_QUEUE)
@blueprint.response(200, QueueHistory)
def get_history() -> dict[str, Any]:
    """Return what the last hours brought, as the page plots it."""
    return {"seconds_a_stretch": MINUTES_A_BAR * 60, "stretches": history_now()}


@blueprint.post("/queue/retry", tags=_QUEUE)
@blueprint.arguments(CauseParameters, location="json")
@blueprint.response(202, Changed)
def post_retry(asked: dict[str, Any]) -> dict[str, Any]:
    """Send what failed, was set aside or was cancelled back to the queue, with the stored originals."""
    jobs = orders.retry(parts().database, parts().announce, actor=actor_words(), code=asked.get("code") or None)
    return {"jobs": jobs}


@blueprint.post("/queue/cancel", tags=_QUEUE)
@blueprint.arguments(CancelParameters, location="json")
@blueprint.response(200, Changed)
def post_cancel(_asked: dict[str, Any]) -> dict[str, Any]:
    """Take back everything that waits, if that is said; 422 otherwise. What runs is finished."""
    return {"jobs": orders.cancel(parts().database, actor=actor_words())}


@blueprint.post("/radiographs/<id:radiograph_id>/cancel", tags=_RADIOGRAPHS)
@blueprint.response(200, Changed)
def post_cancel_radiograph(radiograph_id: int) -> dict[str, Any]:
    """Take back what waits of one radiograph."""
    with parts().database.reading() as session:
        get_radiograph(session, radiograph_id)
    return {"jobs": orders.cancel(parts().database, actor=actor_words(), radiograph_ids=[radiograph_id])}


@blueprint.post("/submissions/<id:submission_id>/cancel", tags=_SUBMISSIONS)
@blueprint.response(200, Changed)
def post_cancel_submission(submission_id: int) -> dict[str, Any]:
    """Take back what waits of a submission; what came in with another one too goes on."""
    return {"jobs": orders.cancel(parts().database, actor=actor_words(), submission=submission_id)}


@blueprint.post("/submissions/<id:submission_id>/priority", tags=_SUBMISSIONS)
@blueprint.arguments(PriorityParameters, location="json")
@blueprint.response(200, Changed)
def post_priority(asked: dict[str, Any], submission_id: int) -> dict[str, Any]:
    """Set how urgent a submission is; `jobs` is how many of it still waited."""
    with parts().database.transaction() as session:
        return {"jobs": set_priority(session, submission_id, asked["priority"], actor=actor_words())}


@blueprint.post("/queue/pause", tags=_QUEUE)
@blueprint.arguments(PauseParameters, location="json")
@blueprint.response(200, PauseChanged)
def post_pause(asked: dict[str, Any]) -> dict[str, Any]:
    """Pause the intake or workers, for every process and across restarts. A worker finishes what it holds."""
    changed = orders.pause(
        parts().database,
        asked["target"],
        actor=actor_words(),
        host=asked.get("host") or None,
        note=asked.get("note", ""),
    )
    return _pauses(changed)


@blueprint.post("/queue/resume", tags=_QUEUE)
@blueprint.arguments(PauseParameters, location="json")
@blueprint.response(200, PauseChanged)
def post_resume(asked: dict[str, Any]) -> dict[str, Any]:
    """End a pause. All workers resumed are those of each machine too."""
    database, announce = parts().database, parts().announce
    return _pauses(
        orders.resume(database, announce, asked["target"], actor=actor_words(), host=asked.get("host") or None)
    )


def _pauses(changed: bool) -> dict[str, Any]:
    with parts().database.reading() as session:
        return {"changed": changed, "paused": pauses(session)}
