"""Requests that may be sent again: the first one under a key is done, and its answer is kept for the others.

A request begins with a row of its own, committed before anything else; what it records is noted in that row, in the
same transaction. So a process that dies leaves nothing or everything, and whoever asks again learns which.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import CursorResult, delete, select, update
from sqlalchemy.orm import Session

from core.database import insert_ignoring, now
from core.errors import KeyInUse, KeyReused
from core.tables import IdempotencyKeyRow

KEPT_FOR = timedelta(hours=24)
#: A request that has not answered for this long has died: the largest upload takes a minute on a slow disk.
_LEASE = timedelta(minutes=5)


@dataclass(frozen=True)
class Kept:
    """The first answer."""

    status: int
    body: str
    location: str | None


@dataclass(frozen=True)
class Begun:
    """What is known of a key."""

    token: str  # who answers holds it
    kept: Kept | None = None  # the answer is there already
    recorded: tuple[int, ...] | None = None  # the arrivals of a request that died before it could answer


def begin(session: Session, owner: str, key: str, fingerprint: str) -> Begun:
    """Begin a request under a key, or find what became of an earlier one.

    Args:
        session: A transaction of its own, committed before the request's work begins.
        owner: Whose key it is.
        key: As it was sent.
        fingerprint: sha256 of all that is asked.

    Raises:
        KeyReused: The key belongs to a request for something else.
        KeyInUse: The first request still runs.
    """
    at, token, mine = now(session), uuid.uuid4().hex, IdempotencyKeyRow
    session.execute(delete(mine).where(mine.owner == owner, mine.key == key, mine.created_at < at - KEPT_FOR))
    new = {"owner": owner, "key": key, "fingerprint": fingerprint, "token": token, "created_at": at}
    insert_ignoring(session, mine, [{**new, "lease_until": at + _LEASE}])
    row = session.scalars(select(mine).where(mine.owner == owner, mine.key == key).with_for_update()).one()
    if row.token == token:
        return Begun(token)
    if row.fingerprint != fingerprint:
        raise KeyReused
    if row.status is not None:
        return Begun(row.token, kept=Kept(row.status, row.body or "", row.location))
    if row.lease_until > at:
        raise KeyInUse
    row.token, row.lease_until = token, at + _LEASE
    return Begun(token, recorded=None if row.recorded is None else tuple(row.recorded))


def note_recorded(session: Session, token: str, arrival_ids: Sequence[int]) -> None:
    """Note what a request records, in the transaction that records it.

    Raises:
        KeyInUse: It took so long that another one has begun instead.
    """
    mine = IdempotencyKeyRow
    noted = session.execute(
        update(mine).where(mine.token == token, mine.recorded.is_(None)).values(recorded=list(arrival_ids))
    )
    assert isinstance(noted, CursorResult)  # noqa: S101 - tells the type checker
    if noted.rowcount != 1:
        raise KeyInUse


def keep_answer(session: Session, token: str, kept: Kept) -> None:
    """Keep the answer for whoever asks again."""
    mine = IdempotencyKeyRow
    session.execute(update(mine).where(mine.token == token, mine.status.is_(None)).values(**vars(kept)))


def release(session: Session, token: str) -> None:
    """End a request without an answer: forget it if it recorded nothing, else let the next one answer at once."""
    mine = IdempotencyKeyRow
    session.execute(delete(mine).where(mine.token == token, mine.recorded.is_(None)))
    session.execute(update(mine).where(mine.token == token).values(lease_until=now(session)))


def forget_old(session: Session) -> None:
    """Remove keys after their time."""
    session.execute(delete(IdempotencyKeyRow).where(IdempotencyKeyRow.created_at < now(session) - KEPT_FOR))
