"""Who asks: anyone on this machine while the door is open, else a person with a session or a program with a token."""

from __future__ import annotations

import enum
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from flask import Flask, g, request, session

from core.errors import Unavailable
from core.records.tokens import note_use, token_of, use_is_due
from core.records.users import SignIn, user_in_session
from core.tables import Role
from web.parts import parts
from web.problems import SignInNeeded

#: These answer whatever is away, and to everybody.
UNATTENDED = frozenset({"static", "health.get_health", "health.get_readiness"})


class Kind(enum.StrEnum):
    """How somebody came in."""

    OPEN = "open"  # the door was open: nobody asked for a name
    SESSION = "session"
    TOKEN = "token"  # noqa: S105 - a word


@dataclass(frozen=True)
class Who:
    """Who asks, and what they may do."""

    name: str
    role: Role
    kind: Kind


#: No account has this name: accounts' names have no blank.
SOMEONE = Who("somebody here", Role.ADMIN, Kind.OPEN)


def who() -> Who:
    """Return who asks.

    Raises:
        SignInNeeded: Nobody that is known.
    """
    found = visitor()
    if found is None:
        raise SignInNeeded
    return found


def visitor() -> Who | None:
    """Return who asks, or None for nobody that is known."""
    found: Who | None = g.get("who")
    return found


def actor_words() -> str:
    """Return who asks, for the audit trail."""
    asking = who()
    if asking.kind is Kind.OPEN:
        return "api" if request.path.startswith("/api/") else "page"
    return f"user:{asking.name}" if asking.kind is Kind.SESSION else f"token:{asking.name}"


def identify_everybody(app: Flask) -> None:
    """Find out who asks before each request is answered."""

    @app.before_request
    def _identify() -> None:
        g.who = None if request.endpoint in UNATTENDED else _identified()


def carries_session() -> bool:
    """Whether the request comes with somebody's session, void or not: then a browser may have been made to send it."""
    return "user" in session


def bearer_key() -> str | None:
    """Return the key that the request carries, if it carries no session: with both, the session counts."""
    given = request.authorization
    if given is None or given.type != "bearer" or carries_session():
        return None
    return given.token or ""


def begin_session(sign_in: SignIn) -> None:
    """Begin a session of somebody who proved to be who they are; nothing of an earlier one is left."""
    if sign_in.user is None:
        raise ValueError("nobody signs in")
    session.clear()
    session.permanent = True
    session["user"], session["began"] = sign_in.user.id, sign_in.at.isoformat()


def end_session() -> None:
    """End it in this browser."""
    session.clear()


def _identified() -> Who | None:
    if parts().door.is_open:
        return SOMEONE
    if carries_session():
        return _of_session()
    key = bearer_key()
    return None if key is None else _of_token(key)


def _of_session() -> Who | None:
    with parts().database.reading() as records:
        user = user_in_session(records, session["user"], datetime.fromisoformat(session["began"]))
    if user is None:
        session.clear()
        return None
    return Who(user.name, user.role, Kind.SESSION)


def _of_token(key: str) -> Who | None:
    with parts().database.reading() as records:
        token = token_of(records, key)
        due = token is not None and use_is_due(records, token)
    if token is None:
        return None
    if due:
        with suppress(Unavailable), parts().database.transaction() as records:
            note_use(records, token)
    return Who(token.name, token.role, Kind.TOKEN)
