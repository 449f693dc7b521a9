"""Health: `/healthz` says that the process lives, `/readyz` that it can do its work, or why not."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from core.readiness import look_over
from web.parts import parts

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
def get_health() -> Response:
    """Answer at all; touches neither database nor broker, so that their absence restarts nothing."""
    return jsonify(status="ok")


@blueprint.get("/readyz")
def get_readiness() -> tuple[Response, int]:
    """Check every part: 200 when all are well, else 503 with a sentence for each that is not."""
    findings = look_over(parts().settings, parts().database)
    # An absent database fails two checks with the same words.
    reasons = list(dict.fromkeys(finding.words for finding in findings if not finding.ok))
    document = {
        "status": "unavailable" if reasons else "ready",
        "checks": {finding.check: finding.ok for finding in findings},
        "reasons": reasons,
    }
    return jsonify(document), 503 if reasons else 200
