"""What each role may do: one table, which every endpoint has to be in."""

from __future__ import annotations

from flask import Flask, redirect, request, url_for
from werkzeug.wrappers import Response

from core.tables import Role
from web.identity import UNATTENDED, visitor
from web.problems import RoleTooSmall, SignInNeeded, wants_json

PUBLIC = UNATTENDED | {"sign_in.sign_in_page", "sign_in.post_sign_in"}
#: Endpoint to the least role that may ask for it. What is missing is an admin's, and a test fails.
LEAST_ROLE = {
    "upload.upload_page": Role.VIEWER,
    "upload.post_submission": Role.REVIEWER,
    "upload.submission_page": Role.VIEWER,
    "submissions.list_page": Role.VIEWER,
    "samples.samples_page": Role.VIEWER,
    "samples.get_picture": Role.VIEWER,
    "samples.post_samples": Role.REVIEWER,
    "results.results_page": Role.VIEWER,
    "exports.get_export": Role.VIEWER,
    "exports.get_labels": Role.ADMIN,  # second readers must not know what was said first
    "radiograph.radiograph_page": Role.VIEWER,
    "radiograph.post_retry": Role.REVIEWER,
    "radiograph.post_classify": Role.REVIEWER,
    "review.begin_page": Role.REVIEWER,
    "review.review_page": Role.REVIEWER,
    "review.post_review": Role.REVIEWER,
    "review.post_undo": Role.REVIEWER,
    "review.post_reader": Role.REVIEWER,
    "review_figures.figures_page": Role.VIEWER,
    "metrics.get_metrics": Role.VIEWER,
    "drift.drift_page": Role.VIEWER,
    "queue.queue_page": Role.VIEWER,
    "queue.post_retry": Role.REVIEWER,
    "queue.post_cancel": Role.ADMIN,
    "queue.post_pause": Role.ADMIN,
    "queue.post_resume": Role.ADMIN,
    "queue.post_cancel_radiograph": Role.REVIEWER,
    "queue.post_cancel_submission": Role.REVIEWER,
    "queue.post_priority": Role.ADMIN,
    "reference.reference_page": Role.VIEWER,
    "sign_in.post_sign_out": Role.VIEWER,
    "api-docs.openapi_json": Role.VIEWER,
    "api.post_radiographs": Role.REVIEWER,
    "api.get_radiographs": Role.VIEWER,
    "api.get_one": Role.VIEWER,
    "api.post_retry": Role.REVIEWER,
    "api.post_classify": Role.REVIEWER,
    "api.get_submissions": Role.VIEWER,
    "api.get_submission": Role.VIEWER,
    "api.get_models": Role.VIEWER,
    "api.get_queue": Role.VIEWER,
    "orders.get_history": Role.VIEWER,
    "orders.post_retry": Role.REVIEWER,
    "orders.post_cancel": Role.ADMIN,
    "orders.post_cancel_radiograph": Role.REVIEWER,
    "orders.post_cancel_submission": Role.REVIEWER,
    "orders.post_priority": Role.ADMIN,
    "orders.post_pause": Role.ADMIN,
    "orders.post_resume": Role.ADMIN,
    "reviews.post_review": Role.REVIEWER,
    "reviews.post_undo": Role.REVIEWER,
    "reviews.get_worklist": Role.VIEWER,
    "reviews.get_figures": Role.VIEWER,
    "drifts.get_drift": Role.VIEWER,
    "images.get_image": Role.VIEWER,
    "images.get_activation": Role.VIEWER,
}


def may(endpoint: str) -> bool:
    """Whether who asks may ask for this too; pages show no buttons that would be refused."""
    asking = visitor()
    return asking is not None and asking.role.covers(_least(endpoint))


def guard_endpoints(app: Flask) -> None:
    """Let each request through, send people to the sign-in page, or refuse."""
    app.jinja_env.globals.update(may=may, visitor=visitor)

    @app.before_request
    def _permit() -> Response | None:
        if request.endpoint in PUBLIC:
            return None
        asking = visitor()
        if asking is None:
            if wants_json() or request.authorization:
                raise SignInNeeded
            there = request.full_path.rstrip("?") if request.method in ("GET", "HEAD") else None
            return redirect(url_for("sign_in.sign_in_page", next=there), 303)
        # An address that does not exist is told to who is known alone.
        least = _least(request.endpoint) if request.endpoint else Role.VIEWER
        if not asking.role.covers(least):
            raise RoleTooSmall(f"This needs the role {least}; {asking.name} has the role {asking.role}.")
        return None


def _least(endpoint: str) -> Role:
    return LEAST_ROLE.get(endpoint, Role.ADMIN)
