"""Heartbeats: which processes live and what they hold."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import case, delete, func, or_, select, update
from sqlalchemy.orm import Session

from core import processes
from core.database import insert_ignoring, now
from core.records.controls import paused_hosts
from core.tables import JobRow, JobStatus, WorkerRow

#: Rows of processes that have been silent for this long are removed.
FORGET_AFTER = timedelta(hours=1)
WORKER, MAIN = "worker", "main"


@dataclass(frozen=True)
class Identity:
    """Who a process is, for heartbeats, leases and the audit trail."""

    role: str
    host: str
    pid: int

    @classmethod
    def of_this_process(cls, role: str) -> Identity:
        """Name this process."""
        return cls(role=role, host=processes.host(), pid=os.getpid())

    def __str__(self) -> str:
        return f"{self.role}@{self.host}:{self.pid}"


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a main process sees of one that it started."""

    born: int  # as `core.processes` has it
    stopped: bool
    at_work: bool  # since the last look it used the processor, or it waits for a disk


def beat(
    session: Session,
    who: Identity,
    *,
    engine: str,
    holds: int = 0,
    idle_seconds: float | None = None,
    model: str | None = None,
    main: Identity | None = None,
) -> None:
    """Record that a process lives and how many jobs it holds.

    Args:
        session: A transaction that may write.
        who: This process.
        engine: What runs its networks.
        holds: Jobs in hand.
        idle_seconds: How long it has had no task; None: it has one.
        model: NAME/VERSION of the network that it used last.
        main: The process that started it and hands it bells.
    """
    at = now(session)
    _beat(
        session,
        who,
        at,
        engine=engine,
        holds=holds,
        held_since=None if holds == 0 else func.coalesce(WorkerRow.held_since, at),
        idle_since=None if idle_seconds is None else at - timedelta(seconds=idle_seconds),
        model=model,
        main=None if main is None else str(main),
    )


def beat_main(
    session: Session,
    who: Identity,
    *,
    children: dict[int, Seen],
    turned_seconds_ago: float | None,
    connected: bool,
    prefetched: int,
) -> None:
    """Record that a worker's main process lives, whether it takes bells, and what it sees of its processes.

    Args:
        session: A transaction that may write.
        who: This process.
        children: Those that it started, by number.
        turned_seconds_ago: When the loop that takes bells last turned; None: not yet. A length of time, because this
            machine's clock may differ from the database's.
        connected: To the broker.
        prefetched: Bells taken that no process has begun.
    """
    at = now(session)
    _beat(
        session,
        who,
        at,
        engine="",
        turned_at=None if turned_seconds_ago is None else at - timedelta(seconds=turned_seconds_ago),
        connected=connected,
        prefetched=prefetched,
        children={str(pid): vars(seen) for pid, seen in children.items()},
    )


def _beat(session: Session, who: Identity, at: datetime, **values: Any) -> None:
    sight = processes.see(os.getpid())
    born = sight.born if sight else None
    row = {
        "name": str(who),
        "role": who.role,
        "host": who.host,
        "pid": who.pid,
        "engine": "",
        "started_at": at,
        "seen_at": at,
        "holds": 0,
        "memory_bytes": 0,
        "born": born,
    }
    insert_ignoring(session, WorkerRow, [row])
    values |= {"seen_at": at, "memory_bytes": sight.memory_bytes if sight else 0, "place": processes.place()}
    # The system gives a dead process's number to another one some day.
    values |= {"born": born, "started_at": case((WorkerRow.born != born, at), else_=WorkerRow.started_at)}
    session.execute(
        update(WorkerRow)
        .where(WorkerRow.name == str(who))
        .values(**values)
        .execution_options(synchronize_session=False)
    )


def sign_off(session: Session, who: Identity) -> None:
    """Remove a process that ends in order, those that it started, and those long silent."""
    forget_silent(session)
    session.execute(delete(WorkerRow).where(or_(WorkerRow.name == str(who), WorkerRow.main == str(who))))


def forget_silent(session: Session) -> None:
    """Remove those long silent."""
    session.execute(delete(WorkerRow).where(WorkerRow.seen_at < now(session) - FORGET_AFTER))


def living(session: Session, *, role: str, within_seconds: float) -> Sequence[WorkerRow]:
    """Return the processes of a role that were heard of lately."""
    since = now(session) - timedelta(seconds=within_seconds)
    return session.scalars(
        select(WorkerRow).where(WorkerRow.role == role, WorkerRow.seen_at >= since).order_by(WorkerRow.name)
    ).all()


def heartbeats(session: Session) -> Sequence[WorkerRow]:
    """Return every process that has not signed off, silent or not."""
    return session.scalars(select(WorkerRow).order_by(WorkerRow.name)).all()


def known_hosts(session: Session) -> list[str]:
    """Return the machines of which a worker was heard of lately, or has not been forgotten yet."""
    wanted = WorkerRow.role.in_((WORKER, MAIN))
    return list(session.scalars(select(WorkerRow.host).where(wanted).distinct().order_by(WorkerRow.host)))


def idle_workers(session: Session, *, within_seconds: float) -> list[str]:
    """Return the living workers that hold no job and may take one."""
    busy = set(session.scalars(select(JobRow.worker).where(JobRow.status == JobStatus.RUNNING).distinct()))
    rows = living(session, role=WORKER, within_seconds=within_seconds)
    resting = paused_hosts(session, {row.host for row in rows})
    return [row.name for row in rows if row.name not in busy and row.host not in resting]
