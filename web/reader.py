"""Who reviews: without sign-in, the name that a person gave to this browser."""

from __future__ import annotations

from flask import session

from core.ingest import displayable

#: Who has given no name.
NAMELESS = "somebody here"
LONGEST_NAME = 64
_KEY = "reader"


def reader_name() -> str:
    """Return the name under which this browser's reviews are kept."""
    return str(session.get(_KEY) or NAMELESS)


def call_reader(name: str) -> None:
    """Keep a person's name in this browser's session; an empty one takes it back."""
    session[_KEY] = displayable(name or " ").strip()[:LONGEST_NAME]
