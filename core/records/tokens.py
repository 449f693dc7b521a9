"""Keys to the API for programs. Only their sha256 is kept; every change is in the audit trail."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from core.accounts import account_name, hash_token, new_token
from core.database import now
from core.errors import AccountRefused, NotFound
from core.records.events import Event, record_events
from core.tables import Role, TokenRow

#: Uses within this time are noted once: a write for every read would cost more than the read.
USE_NOTED_EVERY = timedelta(minutes=1)


@dataclass(frozen=True)
class Token:
    """One row, without the hash."""

    id: int
    name: str
    role: Role
    created_at: datetime
    last_used_at: datetime | None  # to the minute
    revoked_at: datetime | None

    def document(self) -> dict[str, Any]:
        """Return JSON types."""
        return {
            "name": self.name,
            "role": self.role.value,
            "created_at": self.created_at.isoformat(),
            "last_used_at": self.last_used_at.isoformat() if self.last_used_at else None,
            "revoked_at": self.revoked_at.isoformat() if self.revoked_at else None,
        }


def add_token(session: Session, name: str, role: Role, *, actor: str) -> str:
    """Make a token and return its key, which nobody can show again.

    Raises:
        AccountRefused: The name is taken, also by a revoked token: the audit trail names tokens.
    """
    name, key = account_name(name), new_token()
    session.add(TokenRow(name=name, role=role, sha256=hash_token(key), created_at=now(session)))
    try:
        session.flush()
    except IntegrityError as error:
        raise AccountRefused(f"There is or was a token {name}; choose another name.") from error
    _record(session, "token-added", actor, name, role=role.value)
    return key


def list_tokens(session: Session) -> list[Token]:
    """Return all tokens by name."""
    return [_token(row) for row in session.scalars(select(TokenRow).order_by(TokenRow.name))]


def token_of(session: Session, key: str) -> Token | None:
    """Return the token with this key, or None when there is none or it is revoked."""
    digest = hash_token(key)
    if digest is None:
        return None
    row = session.scalar(select(TokenRow).where(TokenRow.sha256 == digest, TokenRow.revoked_at.is_(None)))
    return _token(row) if row else None


def use_is_due(session: Session, token: Token) -> bool:
    """Whether a use now would have to be noted."""
    return token.last_used_at is None or token.last_used_at <= now(session) - USE_NOTED_EVERY


def note_use(session: Session, token: Token) -> None:
    """Note that a token is used, at most once a minute, whoever else notes it at the same moment."""
    at = now(session)
    due = or_(TokenRow.last_used_at.is_(None), TokenRow.last_used_at <= at - USE_NOTED_EVERY)
    session.execute(update(TokenRow).where(TokenRow.id == token.id, due).values(last_used_at=at))


def revoke_token(session: Session, name: str, *, actor: str) -> Token:
    """Make a token void, from the next request on.

    Raises:
        NotFound: There is no such token.
    """
    row = session.scalar(select(TokenRow).where(TokenRow.name == account_name(name)).with_for_update())
    if row is None:
        raise NotFound(f"There is no token {account_name(name)}; `fracture-queue token list` shows all.")
    if row.revoked_at is None:
        row.revoked_at = now(session)
        _record(session, "token-revoked", actor, row.name)
    return _token(row)


def _token(row: TokenRow) -> Token:
    return Token(row.id, row.name, row.role, row.created_at, row.last_used_at, row.revoked_at)


def _record(session: Session, kind: str, actor: str, name: str, **detail: str) -> None:
    record_events(session, now(session), [Event(kind=kind, actor=actor, detail={"token": name, **detail})])
