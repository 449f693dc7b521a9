"""People who sign in. Nobody is deleted; every change is in the audit trail, without secrets."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from core.accounts import account_name
from core.database import now
from core.errors import AccountRefused, NotFound
from core.records.events import Event, record_events
from core.tables import Role, UserRow


@dataclass(frozen=True)
class User:
    """One row, without the password's hash."""

    id: int
    name: str
    role: Role
    created_at: datetime
    disabled_at: datetime | None
    sessions_from: datetime  # sessions that began earlier are void

    def document(self) -> dict[str, Any]:
        """Return JSON types."""
        return {
            "name": self.name,
            "role": self.role.value,
            "created_at": self.created_at.isoformat(),
            "disabled_at": self.disabled_at.isoformat() if self.disabled_at else None,
        }


@dataclass(frozen=True)
class SignIn:
    """What is needed to let somebody in, as it was at one moment."""

    at: datetime  # a session begins here: a password that changes after this voids it
    user: User | None
    password_hash: str | None


def any_user(session: Session) -> bool:
    """Whether there is a user, disabled or not; from the first on everybody signs in."""
    return session.scalar(select(UserRow.id).limit(1)) is not None


def any_admin(session: Session) -> bool:
    """Whether somebody could sign in as admin."""
    query = select(UserRow.id).where(UserRow.role == Role.ADMIN, UserRow.disabled_at.is_(None))
    return session.scalar(query.limit(1)) is not None


def list_users(session: Session) -> list[User]:
    """Return all users by name."""
    return [_user(row) for row in session.scalars(select(UserRow).order_by(UserRow.name))]


def user_in_session(session: Session, user_id: int, began_at: datetime) -> User | None:
    """Return whose session began then, or None when it is void by now."""
    row = session.get(UserRow, user_id)
    if row is None or row.disabled_at is not None or began_at < row.sessions_from:
        return None
    return _user(row)


def prepare_sign_in(session: Session, name: str) -> SignIn:
    """Look up who wants to sign in; a user who is absent or disabled is None."""
    try:
        row = session.scalar(select(UserRow).where(UserRow.name == account_name(name), UserRow.disabled_at.is_(None)))
    except AccountRefused:
        row = None
    at = now(session)
    return SignIn(at, _user(row) if row else None, row.password_hash if row else None)


def record_sign_in(session: Session, user: User) -> None:
    """Note in the audit trail that somebody signed in."""
    _record(session, "signed-in", f"user:{user.name}", user.name)


def add_user(session: Session, name: str, role: Role, password_hash: str, *, actor: str) -> User:
    """Add a person.

    Raises:
        AccountRefused: The name is taken or is none.
    """
    name, at = account_name(name), now(session)
    row = UserRow(name=name, role=role, password_hash=password_hash, created_at=at, sessions_from=at)
    session.add(row)
    try:
        session.flush()
    except IntegrityError as error:
        raise AccountRefused(f"There is a user {name} already; `fracture-queue user list` shows all.") from error
    _record(session, "user-added", actor, name, role=role.value)
    return _user(row)


def set_role(session: Session, name: str, role: Role, *, actor: str) -> User:
    """Change what somebody may do, from their next request on.

    Raises:
        NotFound: There is no such user.
    """
    row = _named(session, name)
    was, row.role = row.role, role
    _record(session, "user-role", actor, row.name, role=role.value, was=was.value)
    return _user(row)


def set_password(session: Session, name: str, password_hash: str, *, actor: str) -> User:
    """Change a password; sessions that began with the old one are void.

    Raises:
        NotFound: There is no such user.
    """
    row = _named(session, name)
    row.password_hash, row.sessions_from = password_hash, now(session)
    _record(session, "user-password", actor, row.name)
    return _user(row)


def refresh_hash(session: Session, user: User, old: str, new: str) -> None:
    """Keep the same password under a newer hash, unless it was changed meanwhile."""
    session.execute(
        update(UserRow).where(UserRow.id == user.id, UserRow.password_hash == old).values(password_hash=new)
    )


def set_disabled(session: Session, name: str, *, disabled: bool, actor: str) -> User:
    """Shut somebody out at once, or let them in again. The last admin too: that may be who has to be shut out.

    Raises:
        NotFound: There is no such user.
    """
    row, at = _named(session, name), now(session)
    if disabled != (row.disabled_at is not None):
        row.disabled_at, row.sessions_from = at if disabled else None, at
        _record(session, "user-disabled" if disabled else "user-enabled", actor, row.name)
    return _user(row)


def sign_out_everywhere(session: Session, name: str, *, actor: str) -> User:
    """Make all sessions of somebody void.

    Raises:
        NotFound: There is no such user.
    """
    row = _named(session, name)
    row.sessions_from = now(session)
    _record(session, "user-signed-out", actor, row.name)
    return _user(row)


def _named(session: Session, name: str) -> UserRow:
    row = session.scalar(select(UserRow).where(UserRow.name == account_name(name)).with_for_update())
    if row is None:
        raise NotFound(f"There is no user {account_name(name)}; `fracture-queue user list` shows all.")
    return row


def _user(row: UserRow) -> User:
    return User(row.id, row.name, row.role, row.created_at, row.disabled_at, row.sessions_from)


def _record(session: Session, kind: str, actor: str, name: str, **detail: str) -> None:
    record_events(session, now(session), [Event(kind=kind, actor=actor, detail={"user": name, **detail})])
