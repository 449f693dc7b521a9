"""Errors become answers: problem details (RFC 9457) for programs, a page with a sentence for people."""

from __future__ import annotations

import logging

from flask import Flask, Response, jsonify, make_response, render_template, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from core.errors import (
    ConfigurationError,
    Conflict,
    FractureError,
    IntakePaused,
    KeyInUse,
    KeyReused,
    ModelError,
    NotFound,
    OriginalDeleted,
    RejectedImage,
    Unavailable,
)
from web.limits import most_body_bytes
from web.parts import parts

log = logging.getLogger(__name__)

#: Seconds after which a program may try again when a part was away.
_RETRY_AFTER = "5"
#: Likewise when a person paused the intake.
_PAUSED_RETRY_AFTER = "60"


class BadParameter(FractureError):
    """A parameter of the request cannot be used."""

    code = "bad-parameter"


class NoFiles(FractureError):
    """The request carries no file; send at least one in the field `files`."""

    code = "no-files"


class TooMuchAtOnce(FractureError):
    """The request carries more than one request may; send several smaller ones."""

    code = "too-much-at-once"


class ForeignRequest(FractureError):
    """The request comes from another site's page, or was sent to a name that this installation does not have."""

    code = "foreign-request"


class SignInNeeded(FractureError):
    """Sign in first; programs send a token (`fracture-queue token add`) as `Authorization: Bearer`."""

    code = "sign-in-needed"


class RoleTooSmall(FractureError):
    """Who asks may not do this."""

    code = "role-too-small"


class TooOften(FractureError):
    """Too many requests; wait."""

    code = "too-often"

    def __init__(self, message: str | None = None, wait_seconds: int = 60) -> None:
        super().__init__(message)
        self.wait_seconds = wait_seconds


class NothingNamed(FractureError):
    """Taking back everything that waits has to be said: send {"all": true}."""

    code = "nothing-named"


class NothingToRetry(FractureError):
    """No job of this radiograph has failed, been set aside or been cancelled."""

    code = "nothing-to-retry"


#: The first class that fits decides.
_STATUS: tuple[tuple[type[FractureError], int], ...] = (
    (BadParameter, 400),
    (SignInNeeded, 401),
    (ForeignRequest, 403),
    (RoleTooSmall, 403),
    (NotFound, 404),
    (NothingToRetry, 409),
    (Conflict, 409),
    (OriginalDeleted, 410),
    (TooMuchAtOnce, 413),
    (NoFiles, 422),
    (NothingNamed, 422),
    (KeyReused, 422),
    (RejectedImage, 422),
    (TooOften, 429),
    (Unavailable, 503),
    (ConfigurationError, 503),
    (ModelError, 503),
)
_TITLES = {
    400: "This request cannot be understood",
    401: "Sign in first",
    403: "This request is refused",
    404: "Not found",
    405: "Not possible here",
    409: "Not possible any more",
    410: "Not there any more",
    413: "Too much at once",
    422: "This cannot be used",
    429: "Too often",
    500: "Something went wrong",
    503: "Not available for the moment",
}


def wants_json() -> bool:
    """Whether the answer goes to a program."""
    if request.path.startswith(("/api/", "/healthz", "/readyz")):
        return True
    kinds = request.accept_mimetypes
    return kinds.best_match(["text/html", "application/json"]) == "application/json"


def answer_errors(app: Flask) -> None:
    """Register the handlers."""

    @app.errorhandler(FractureError)
    def _on_fracture_error(error: FractureError) -> Response:
        status = next((number for kind, number in _STATUS if isinstance(error, kind)), 500)
        if status >= 500:
            log.warning("%s %s: %s", request.method, request.url_rule, error)
        answer = _problem(status, error.code, str(error))
        if isinstance(error, SignInNeeded):
            answer.headers["WWW-Authenticate"] = "Bearer"
        if isinstance(error, TooOften):
            answer.headers["Retry-After"] = str(error.wait_seconds)
        if isinstance(error, KeyInUse):
            answer.headers["Retry-After"] = "1"
        return answer

    @app.errorhandler(HTTPException)
    def _on_http_error(error: HTTPException) -> Response:
        if isinstance(error, RequestEntityTooLarge):
            return _problem(413, TooMuchAtOnce.code, _too_much())
        if error.response is not None or error.code is None or error.code < 400:  # a redirect
            return make_response(error.get_response())
        words = "Something went wrong on our side; the log says more." if error.code >= 500 else error.description
        code = error.name.lower().replace(" ", "-")
        answer = _problem(error.code, code, words or error.name)
        # What the exception itself wants to say, such as the methods that are allowed.
        for name, value in error.get_headers():
            if name.lower() not in ("content-type", "content-length"):
                answer.headers[name] = value
        return answer


def _too_much() -> str:
    settings = parts().settings
    return (
        f"One upload may carry at most {settings.max_upload_files} files and "
        f"{most_body_bytes(settings) / 2**20:.0f} MiB; send fewer at once."
    )


def _problem(status: int, code: str, words: str) -> Response:
    title = _TITLES.get(status, "This did not work")
    if wants_json():
        answer = jsonify(type="about:blank", title=title, status=status, code=code, detail=words)
        answer.mimetype = "application/problem+json"
    else:
        answer = make_response(render_template("problem.html", title=title, status=status, words=words))
    answer.status_code = status
    if status == 503:
        answer.headers["Retry-After"] = _PAUSED_RETRY_AFTER if code == IntakePaused.code else _RETRY_AFTER
    return answer
