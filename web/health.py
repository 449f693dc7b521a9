"""Health: `/healthz` says that the process lives, `/readyz` that it can do its work, or why not."""

from __future__ import annotations

from typing import Any

from core.readiness import look_over
from web.openapi import Blueprint
from web.parts import parts
from web.schemas.health import Health, Readiness

blueprint = Blueprint("health", __name__)
_HEALTH = ["Health"]


@blueprint.get("/healthz", tags=_HEALTH)
@blueprint.response(200, Health)
def get_health() -> dict[str, Any]:
    """Answer at all: touches neither database nor broker, so that their absence restarts nothing."""
    return {"status": "ok"}


@blueprint.get("/readyz", tags=_HEALTH)
@blueprint.response(200, Readiness, description="All is well.")
@blueprint.alt_response(503, schema=Readiness, description="Something is not; `reasons` says what.")
def get_readiness() -> tuple[dict[str, Any], int]:
    """Check every part: 200 when all are well, else 503 with a sentence for each that is not."""
    findings = look_over(parts().settings, parts().database)
    # An absent database fails two checks with the same words.
    reasons = list(dict.fromkeys(finding.words for finding in findings if not finding.ok))
    document = {
        "status": "unavailable" if reasons else "ready",
        "checks": {finding.check: finding.ok for finding in findings},
        "reasons": reasons,
    }
    return document, 503 if reasons else 200
