"""How the system runs: the audit trail, heartbeats, counts."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from core.tables.base import Base, Id


class EventRow(Base):
    """The audit trail: what happened to what, when, by whom. Append-only."""

    __tablename__ = "events"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    at: Mapped[datetime]
    kind: Mapped[str] = mapped_column(String(32))
    actor: Mapped[str] = mapped_column(String(128))
    radiograph_id: Mapped[int | None] = mapped_column(Id, index=True)
    job_id: Mapped[int | None] = mapped_column(Id)
    arrival_id: Mapped[int | None] = mapped_column(Id)
    detail: Mapped[dict[str, Any]]


class WorkerRow(Base):
    """A heartbeat: one process, what it holds and since when."""

    __tablename__ = "workers"

    name: Mapped[str] = mapped_column(String(128), primary_key=True)  # role@host:pid
    role: Mapped[str] = mapped_column(String(16))  # worker, inbox
    host: Mapped[str] = mapped_column(String(128))
    pid: Mapped[int]
    engine: Mapped[str] = mapped_column(String(64))
    started_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    holds: Mapped[int]  # jobs in hand
    held_since: Mapped[datetime | None]
    memory_bytes: Mapped[int] = mapped_column(BigInteger)


class CounterRow(Base):
    """A share of a count that triggers keep: the count of a name is the sum of its changes.

    SQLite, which has one writer at a time, keeps one row a name. PostgreSQL appends a row a statement, so that
    transactions never wait for each other's count, and `core.records.counters.fold` adds rows up.
    """

    __tablename__ = "counters"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(64))  # the table and the status: "jobs waiting"
    change: Mapped[int] = mapped_column(BigInteger)
