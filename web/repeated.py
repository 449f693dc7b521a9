"""Uploads that may be sent again: under one `Idempotency-Key` the first is done, and answers all.

Whoever got no answer cannot know whether the files arrived. With a key the same request is simply sent once more.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

from flask import Response, request

from core.errors import Unavailable
from core.records.idempotency import Begun, Kept, begin, keep_answer, note_recorded, release
from core.tables import Source
from web.identity import who
from web.parts import parts
from web.problems import BadParameter
from web.received import fingerprint, take_upload
from web.submitted import answer_upload

_HEADER = "Idempotency-Key"
_LONGEST = 255
_KEY = f"^[\\x21-\\x7e]{{1,{_LONGEST}}}$"
#: The header as the API's document shows it.
PARAMETER: dict[str, Any] = {
    "in": "header",
    "name": _HEADER,
    "required": False,
    "description": (
        "Any text of your own for this upload, such as a UUID. The same request with the same key is answered as at "
        "first, for 24 hours, and uploads nothing; with other content it is refused (422), and while the first still "
        "runs too (409)."
    ),
    "schema": {"type": "string", "minLength": 1, "maxLength": _LONGEST, "pattern": _KEY},
}


def answer_once(source: Source) -> Response:
    """Take this request's upload and answer it, unless its key says that this was done already.

    Raises:
        KeyReused, KeyInUse: The key belongs to another request.
        BadParameter: The key cannot be used, or as `take_upload`.
    """
    key = _given_key()
    if key is None:
        return answer_upload([arrival.id for arrival in take_upload(source).arrivals])
    asking = who()
    with parts().database.transaction() as session:
        begun = begin(session, f"{asking.kind} {asking.name}", key, fingerprint())
    if begun.kept is not None:
        return _again(begun.kept)
    try:
        answer = answer_upload(begun.recorded or _taken(source, begun))
    except BaseException:
        # What was recorded stays; then the next request under this key only has to answer.
        with suppress(Unavailable), parts().database.transaction() as session:
            release(session, begun.token)
        raise
    with parts().database.transaction() as session:
        keep_answer(session, begun.token, Kept(answer.status_code, answer.get_data(as_text=True), answer.location))
    return answer


def _taken(source: Source, begun: Begun) -> list[int]:
    intake = take_upload(
        source,
        also=lambda session, intake: note_recorded(session, begun.token, [arrival.id for arrival in intake.arrivals]),
    )
    return [arrival.id for arrival in intake.arrivals]


def _again(kept: Kept) -> Response:
    answer = Response(kept.body, status=kept.status, mimetype="application/json")
    answer.headers["Idempotent-Replayed"] = "true"
    if kept.location is not None:
        answer.headers["Location"] = kept.location
    return answer


def _given_key() -> str | None:
    given = request.headers.get(_HEADER)
    if given is None:
        return None
    if not re.fullmatch(_KEY, given.strip()):
        raise BadParameter(f"The header {_HEADER} is not 1 to {_LONGEST} visible ASCII characters without blanks.")
    return given.strip()
