"""How the system runs: the audit trail, heartbeats, counts, pauses, what each minute brought."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, String, Text
from sqlalchemy import UniqueConstraint as Unique
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
    """A heartbeat: one process, what it holds and since when.

    A worker is one main process, which takes bells from the broker, and the processes that classify, which it started.
    """

    __tablename__ = "workers"

    name: Mapped[str] = mapped_column(String(128), primary_key=True)  # role@host:pid
    role: Mapped[str] = mapped_column(String(16))  # worker (it classifies), main (it starts those), inbox
    host: Mapped[str] = mapped_column(String(128))
    pid: Mapped[int]
    engine: Mapped[str] = mapped_column(String(64))
    started_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    holds: Mapped[int]  # jobs in hand
    held_since: Mapped[datetime | None]
    memory_bytes: Mapped[int] = mapped_column(BigInteger)
    place: Mapped[str] = mapped_column(String(64), server_default="")  # who shares it sees the same process numbers
    born: Mapped[int | None] = mapped_column(BigInteger)  # a number that comes twice is told by this
    main: Mapped[str | None] = mapped_column(String(128))  # of a worker: the main process's name
    model: Mapped[str | None] = mapped_column(String(200))  # NAME/VERSION of the network used last
    idle_since: Mapped[datetime | None]  # of a worker: no task in hand since; None: it has one
    turned_at: Mapped[datetime | None]  # of a main process: when its loop, which takes bells, last turned
    connected: Mapped[bool | None]  # of a main process: to the broker
    prefetched: Mapped[int | None]  # of a main process: bells taken that no process has begun
    children: Mapped[dict[str, Any] | None]  # of a main process: what it sees of the processes it started, by number


class CounterRow(Base):
    """A share of a count that triggers keep: the count of a name is the sum of its changes.

    SQLite, which has one writer at a time, keeps one row a name. PostgreSQL appends a row a statement, so that
    transactions never wait for each other's count, and `core.records.counters.fold` adds rows up.
    """

    __tablename__ = "counters"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(64))  # the table and the status: "jobs waiting"
    change: Mapped[int] = mapped_column(BigInteger)


class ControlRow(Base):
    """What people have paused; a row that is there is in force, for every process and across restarts."""

    __tablename__ = "controls"

    name: Mapped[str] = mapped_column(String(160), primary_key=True)  # intake, workers, workers@HOST
    paused_at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(String(128))
    note: Mapped[str] = mapped_column(Text)


class MinuteRow(Base):
    """What one minute brought, written when it is over."""

    __tablename__ = "minutes"

    minute: Mapped[datetime] = mapped_column(primary_key=True)  # its beginning
    done: Mapped[int]  # jobs that got an answer
    failed: Mapped[int]  # jobs that failed or were set aside
    waiting: Mapped[int | None]  # jobs that waited when it was over; None: nobody looked then


class IdempotencyKeyRow(Base):
    """The answer to a request that carried an `Idempotency-Key`, for whoever sends the request again."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (Unique("owner", "key"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    owner: Mapped[str] = mapped_column(String(160))  # the person or program; another's key is another key
    key: Mapped[str] = mapped_column(String(255))
    fingerprint: Mapped[str] = mapped_column(String(64))  # sha256 of what was asked
    token: Mapped[str] = mapped_column(String(32))  # of the request that answers; another one changes nothing
    lease_until: Mapped[datetime]  # until then its request counts as running
    recorded: Mapped[list[int] | None] = mapped_column(
        JSON(none_as_null=True)
    )  # the arrivals it became; None: nothing is recorded yet
    status: Mapped[int | None]  # of the answer; None: there is none yet
    body: Mapped[str | None] = mapped_column(Text)
    location: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(index=True)
