"""Sign in and out. Wrong names and wrong passwords take equally long and are answered with the same sentence."""

from __future__ import annotations

import logging
import re

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as Redirect

from core.accounts import account_name, hash_password, is_outdated, password_fits
from core.errors import AccountRefused
from core.records.users import prepare_sign_in, record_sign_in, refresh_hash
from core.words import counted
from web.identity import begin_session, end_session, visitor
from web.parts import parts
from web.problems import TooOften

log = logging.getLogger(__name__)
blueprint = Blueprint("sign_in", __name__)

_MOST_FORM_BYTES = 16 * 2**10
#: An address within this site. Browsers take a backslash for a slash and leave out blanks and control characters.
_LOCAL = re.compile(r"/(?![/\\])[^\\\x00-\x20\x7f]*")


@blueprint.get("/sign-in")
def sign_in_page() -> str | Redirect:
    """Show the form; who is signed in already goes on."""
    if visitor():
        return redirect(local_address(request.args.get("next")), 303)
    return _page(request.args.get("next"))


@blueprint.post("/sign-in")
def post_sign_in() -> Response | Redirect:
    """Begin a session.

    Errors: 401 wrong name or password, 429 too many failures.
    """
    request.max_content_length = _MOST_FORM_BYTES
    name, password, there = (request.form.get(field, "") for field in ("name", "password", "next"))
    if parts().door.is_open:
        return redirect(local_address(there), 303)
    counted_as, address = _counted_as(name), request.remote_addr or ""
    wait = parts().attempts.begin(counted_as, address)
    if wait:
        raise TooOften(f"Too many sign-ins have failed. Wait {counted(-(-wait // 60), 'minute', 'minutes')}.", wait)
    with parts().database.reading() as session:
        found = prepare_sign_in(session, name)
    if not password_fits(found.password_hash, password) or found.user is None or found.password_hash is None:
        # Not the name: people type passwords into the wrong field.
        log.warning("A sign-in from %s failed.", address)
        words = "This name and this password do not belong together."
        return make_response(_page(there, words), 401, {"WWW-Authenticate": "Bearer"})
    newer = hash_password(password) if is_outdated(found.password_hash) else None
    with parts().database.transaction() as session:
        if newer:
            refresh_hash(session, found.user, found.password_hash, newer)
        record_sign_in(session, found.user)
    parts().attempts.succeeded(counted_as, address)
    begin_session(found)
    return redirect(local_address(there), 303)


@blueprint.post("/sign-out")
def post_sign_out() -> Redirect:
    """End the session in this browser."""
    end_session()
    return redirect(url_for(".sign_in_page"), 303)


def local_address(wanted: str | None) -> str:
    """Return where to go on: only ever a page of this site."""
    return wanted if wanted and _LOCAL.fullmatch(wanted) else url_for("upload.upload_page")


def _counted_as(name: str) -> str:
    try:
        return account_name(name)
    except AccountRefused:
        return "no name"


def _page(there: str | None, problem: str = "") -> str:
    return render_template("sign_in.html", there=local_address(there), problem=problem)
