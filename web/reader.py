"""Who reviews: whoever signed in; while nobody has to, the name that a person gave to this browser."""

from __future__ import annotations

from flask import session

from core.ingest import displayable
from core.tables import Role
from web.identity import SOMEONE, Kind, actor_words, who

#: Who has given no name.
NAMELESS = SOMEONE.name
LONGEST_NAME = 64
_KEY = "reader"


def reader_name() -> str:
    """Return the name under which reviews are kept; a token and a user of one name are two readers."""
    asking = who()
    if asking.kind is Kind.OPEN:
        return str(session.get(_KEY) or NAMELESS)
    return asking.name if asking.kind is Kind.SESSION else actor_words()


def possible_reader() -> str | None:
    """Return the name of who asks if they may review, so that reviews are kept from who may have to read second."""
    return reader_name() if who().role.covers(Role.REVIEWER) else None


def call_reader(name: str) -> None:
    """Keep a person's name in this browser's session; an empty one takes it back."""
    session[_KEY] = displayable(name or " ").strip()[:LONGEST_NAME]
