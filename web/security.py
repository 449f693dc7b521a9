"""Who may ask: host names, cross-site writes, and the headers of every answer.

There is no sign-in, so the page listens on this machine alone (`web.serve` sees to that). What is left to fear is
another site's page in the same browser: it could point a name of its own at this machine (DNS rebinding) and read,
or post a form here and write. The first is stopped by the host's name, the second by what browsers say of a request.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import SplitResult, urlsplit

from flask import Flask, Response, request

from core.settings import Settings
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


def is_loopback(host: str) -> bool:
    """Whether a host's name or address means this machine alone."""
    name = host.strip("[]").rstrip(".").lower()
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def guard(app: Flask, settings: Settings) -> None:
    """Check every request and complete every answer."""
    local_only = is_loopback(settings.host)

    @app.before_request
    def _check() -> None:
        if local_only:
            _refuse_foreign_host(settings.host)
        if request.method not in _SAFE_METHODS:
            _refuse_foreign_origin()

    @app.after_request
    def _complete(answer: Response) -> Response:
        for name, value in HEADERS.items():
            answer.headers.setdefault(name, value)
        return answer


def _refuse_foreign_host(own: str) -> None:
    name = _split(f"//{request.host}").hostname or ""
    if not is_loopback(name) and name != own.lower():
        raise ForeignRequest("This page answers only to localhost; it was asked for under another name.")


def _refuse_foreign_origin() -> None:
    """Refuse a write that another site's page asked for; programs send neither header."""
    site = request.headers.get("Sec-Fetch-Site")
    # "same-site" is not enough: every port of localhost is the same site.
    if site is not None and site not in ("same-origin", "none"):
        raise ForeignRequest("Another site's page asked for this; nothing was changed.")
    origin = request.headers.get("Origin")
    # The scheme may differ behind a proxy that ends TLS; host and port may not.
    if origin is not None and _split(origin).netloc.lower() != request.host.lower():
        raise ForeignRequest("Another site's page asked for this; nothing was changed.")


def _split(address: str) -> SplitResult:
    """Split an address that a stranger wrote; one that is none has no host."""
    try:
        return urlsplit(address)
    except ValueError:
        return SplitResult("", "", "", "", "")
