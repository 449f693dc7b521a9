"""What every request has to pass: host names, proxies, cross-site writes; and the headers of every answer.

While the door is open (`web.door`) nobody signs in, and what is left to fear is another site's page in the same
browser: it could point a name of its own at this machine (DNS rebinding) and read, or post a form here and write. The
first is stopped by the host's name, the second by what browsers say of a request. With sign-in a foreign name brings no
cookie along, and only the second is left, for whoever has a session: a key is sent by no browser by itself.
"""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

from flask import Flask, Response, request

from core.settings import Settings
from web.door import is_loopback
from web.identity import UNATTENDED, bearer_key, carries_session
from web.parts import parts
from web.problems import ForeignRequest

_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
HEADERS = {
    # No inline script or style anywhere; bars are <meter> elements.
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not `no-referrer`: browsers would then send `Origin: null` with our own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    # Kept by the reader's browser alone, and asked for again each time: a number may mean another image tomorrow.
    "Cache-Control": "private, no-cache",
}
_FORWARDED = ("forwarded", "x-forwarded-", "x-real-ip")
#: With `FRACTURE_BEHIND_TLS`: for a year browsers ask by https alone.
_BY_TLS_ALONE = {"Strict-Transport-Security": "max-age=31536000"}


def guard(app: Flask, settings: Settings) -> None:
    """Check every request and complete every answer."""
    headers = HEADERS | (_BY_TLS_ALONE if settings.behind_tls else {})

    @app.before_request
    def _check() -> None:
        if request.endpoint not in UNATTENDED:
            parts().door.look()
        is_open = parts().door.is_open
        if is_open:
            _refuse_foreign_host(settings.host)
            _refuse_forwarded()
        if request.method not in _SAFE_METHODS and (is_open or bearer_key() is None):
            _refuse_foreign_origin(must_tell=not is_open and carries_session())

    @app.after_request
    def _complete(answer: Response) -> Response:
        for name, value in headers.items():
            answer.headers.setdefault(name, value)
        return answer


def _refuse_foreign_host(own: str) -> None:
    name = _split(f"//{request.host}").hostname or ""
    if not is_loopback(name) and name != own.lower():
        raise ForeignRequest("This page answers only to localhost; it was asked for under another name.")


def _refuse_forwarded() -> None:
    """Refuse what a proxy passes on: it may stand before the whole network, and here nobody signs in."""
    if any(name.lower().startswith(_FORWARDED) for name in request.headers.keys()):  # noqa: SIM118 - pairs otherwise
        raise ForeignRequest(
            "A proxy passed this on, and nobody has to sign in here. "
            "Add a user first: `fracture-queue user add NAME --role admin`."
        )


def _refuse_foreign_origin(*, must_tell: bool) -> None:
    """Refuse a write that another site's page asked for; programs send neither header.

    Args:
        must_tell: A browser has to say where the request comes from. Every one that is not ancient does.
    """
    site = request.headers.get("Sec-Fetch-Site")
    # "same-site" is not enough: every port of localhost is the same site.
    if site is not None and site not in ("same-origin", "none"):
        raise ForeignRequest("Another site's page asked for this; nothing was changed.")
    origin = request.headers.get("Origin")
    # The scheme may differ behind a proxy that ends TLS; host and port may not.
    if origin is not None and _split(origin).netloc.lower() != request.host.lower():
        raise ForeignRequest("Another site's page asked for this; nothing was changed.")
    if must_tell and site is None and origin is None:
        raise ForeignRequest("The browser does not say which page asked for this; programs use a token instead.")


def _split(address: str) -> SplitResult:
    """Split an address that a stranger wrote; one that is none has no host."""
    try:
        return urlsplit(address)
    except ValueError:
        return SplitResult("", "", "", "", "")
