"""Heartbeats: which processes live and what they hold."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from core.database import insert_ignoring, now
from core.tables import JobRow, JobStatus, WorkerRow

#: Rows of processes that have been silent for this long are removed.
FORGET_AFTER = timedelta(hours=1)


@dataclass(frozen=True)
class Identity:
    """Who a process is, for heartbeats, leases and the audit trail."""

    role: str
    host: str
    pid: int

    @classmethod
    def of_this_process(cls, role: str) -> Identity:
        """Name this process."""
        return cls(role=role, host=socket.gethostname(), pid=os.getpid())

    def __str__(self) -> str:
        return f"{self.role}@{self.host}:{self.pid}"


def beat(session: Session, who: Identity, *, engine: str, holds: int = 0) -> None:
    """Record that a process lives and how many jobs it holds."""
    at = now(session)
    row = {
        "name": str(who),
        "role": who.role,
        "host": who.host,
        "pid": who.pid,
        "engine": engine,
        "started_at": at,
        "seen_at": at,
        "holds": 0,
        "memory_bytes": 0,
    }
    insert_ignoring(session, WorkerRow, [row])
    held_since = None if holds == 0 else func.coalesce(WorkerRow.held_since, at)
    session.execute(
        update(WorkerRow)
        .where(WorkerRow.name == str(who))
        .values(seen_at=at, holds=holds, held_since=held_since, memory_bytes=resident_bytes(), engine=engine)
        .execution_options(synchronize_session=False)
    )


def sign_off(session: Session, who: Identity) -> None:
    """Remove a process that ends in order, and those long silent."""
    stale = WorkerRow.seen_at < now(session) - FORGET_AFTER
    session.execute(delete(WorkerRow).where((WorkerRow.name == str(who)) | stale))


def living(session: Session, *, role: str, within_seconds: float) -> Sequence[WorkerRow]:
    """Return the processes of a role that were heard of lately."""
    since = now(session) - timedelta(seconds=within_seconds)
    return session.scalars(
        select(WorkerRow).where(WorkerRow.role == role, WorkerRow.seen_at >= since).order_by(WorkerRow.name)
    ).all()


def idle_workers(session: Session, *, within_seconds: float) -> list[str]:
    """Return the living workers that hold no job."""
    busy = set(session.scalars(select(JobRow.worker).where(JobRow.status == JobStatus.RUNNING).distinct()))
    return [row.name for row in living(session, role="worker", within_seconds=within_seconds) if row.name not in busy]


def resident_bytes() -> int:
    """Return this process's resident memory in bytes (Linux; 0 elsewhere)."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
