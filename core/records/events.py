"""The audit trail."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import event as sql_event
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.database import append
from core.logs import tell, trail_is_told
from core.tables import EventRow


@dataclass(frozen=True, kw_only=True)
class Event:
    """One thing that happened."""

    kind: str  # "received", "done", "failed", "returned", "quarantined", "retried", "cancelled", ...
    actor: str  # a process ("worker@host:41") or a person
    radiograph_id: int | None = None
    job_id: int | None = None
    arrival_id: int | None = None
    detail: dict[str, Any] = field(default_factory=dict)


def record_events(session: Session, at: datetime, events: Iterable[Event]) -> None:
    """Append to the trail, and tell the log."""
    happened = list(events)
    append(session, EventRow, [{"at": at, **vars(each)} for each in happened])
    tell_when_committed(session, happened)


def tell_when_committed(session: Session, events: Sequence[Event]) -> None:
    """Tell the log what happened when this transaction is committed, and not otherwise."""
    if not trail_is_told():
        return

    def tell_all(_: Session) -> None:
        for each in events:
            tell(**vars(each))

    sql_event.listen(session, "after_commit", tell_all, once=True)


def events_of(session: Session, radiograph_id: int) -> list[EventRow]:
    """Return what happened to one radiograph, oldest first."""
    query = select(EventRow).where(EventRow.radiograph_id == radiograph_id).order_by(EventRow.id)
    return list(session.scalars(query))
