"""What is said of a submission: to whoever uploads, by the API, and on its page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from flask import Response, jsonify, url_for
from sqlalchemy.orm import Session

from core.records.forecast import seconds_left
from core.records.submissions import SubmissionState, submission_of, submission_state
from core.tables import ArrivalStatus
from web.parts import parts
from web.schemas.submissions import Submission

#: As on the queue page: a worker that missed this many heartbeats does nothing any more.
_MISSED_BEATS = 3
#: Up to a length of time in seconds: the step that an estimate of it is rounded up to.
_STEPS = ((60, 5), (600, 15), (7_200, 60), (math.inf, 600))


def answer_upload(arrival_ids: Sequence[int]) -> Response:
    """Answer an upload per file: 202 when any was accepted, else 422."""
    with parts().database.reading() as session:
        submission = submission_state(session, submission_of(session, arrival_ids[0]), arrival_ids=arrival_ids)
        answer = jsonify(Submission().dump(told(session, submission)))
    accepted = any(file.status == ArrivalStatus.ACCEPTED for file in submission.files)
    answer.status_code = 202 if accepted else 422
    answer.headers["Location"] = url_for("api.get_submission", submission_id=submission.id)
    return answer


def told(session: Session, submission: SubmissionState) -> dict[str, Any]:
    """Return what `web.schemas.submissions.Submission` writes."""
    return {"state": submission, "seconds_left": time_left(session, submission)}


def time_left(session: Session, submission: SubmissionState) -> float | None:
    """Estimate in how many seconds a submission is finished; 0 when it is, None when nobody can know."""
    if not submission.unfinished:
        return 0.0
    silent_after = _MISSED_BEATS * parts().settings.heartbeat_seconds
    left = seconds_left(session, submission.id, heard_within_seconds=silent_after)
    return None if left is None else float(coarse(left))


def coarse(seconds: float) -> int:
    """Round an estimate up to what it is worth; one that changed with every look would say nothing new."""
    step = next(step for most, step in _STEPS if seconds < most)
    return max(1, math.ceil(seconds / step)) * step
