"""Who may come in: users and tokens."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import String, Text
from sqlalchemy.orm import Mapped, mapped_column

from core.tables.base import Base, Id, words
from core.tables.words import Role


class UserRow(Base):
    """A person who signs in. Rows are never deleted: the audit trail names them."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    role: Mapped[Role] = mapped_column(words(Role))
    password_hash: Mapped[str] = mapped_column(Text)  # argon2id with its parameters and salt
    created_at: Mapped[datetime]
    disabled_at: Mapped[datetime | None]  # cannot sign in since then
    sessions_from: Mapped[datetime]  # sessions that began earlier are void


class TokenRow(Base):
    """A program's key to the API. The key itself is kept nowhere."""

    __tablename__ = "tokens"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    role: Mapped[Role] = mapped_column(words(Role))
    sha256: Mapped[str] = mapped_column(String(64), unique=True)  # of the key
    created_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]  # to the minute
    revoked_at: Mapped[datetime | None]
