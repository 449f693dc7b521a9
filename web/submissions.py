"""The list of submissions, to find one again."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, render_template, request, url_for

from core.records.submissions import list_submissions
from web.parameters import DEFAULT_LIMIT, SubmissionParameters, read
from web.parts import parts

blueprint = Blueprint("submissions", __name__)


@blueprint.get("/submissions")
def list_page() -> str:
    """List what came in together, the newest first.

    Errors: 400 a parameter cannot be used.
    """
    asked = read(SubmissionParameters, request.args, strict=False)
    kept: dict[str, Any] = {name: asked[name] for name in ("name",) if name in asked}
    with parts().database.reading() as session:
        found = list_submissions(session, limit=DEFAULT_LIMIT + 1, before_id=asked.get("before_id"), **kept)
    more = len(found) > DEFAULT_LIMIT
    return render_template(
        "submissions.html",
        submissions=found[:DEFAULT_LIMIT],
        kept=kept,
        following=url_for(".list_page", **kept, before_id=found[DEFAULT_LIMIT - 1].id) if more else None,
        first=url_for(".list_page", **kept) if "before_id" in asked else None,
    )
