"""What happened to one radiograph, from the audit trail."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.tables import EventRow, JobRow, ModelVersionRow


@dataclass(frozen=True, kw_only=True)
class Happening:
    """One thing that happened."""

    at: datetime
    kind: str
    actor: str  # a process or a person, as the trail names them
    model: str | None  # NAME/VERSION whose job it was about
    detail: Mapping[str, Any]


def history_of(session: Session, radiograph_id: int, *, limit: int) -> list[Happening]:
    """Return what happened last to a radiograph, the newest first."""
    row = EventRow
    query = (
        select(row.at, row.kind, row.actor, row.detail, ModelVersionRow.name, ModelVersionRow.version)
        .outerjoin(JobRow, JobRow.id == row.job_id)
        .outerjoin(ModelVersionRow, ModelVersionRow.id == JobRow.model_version_id)
        .where(row.radiograph_id == radiograph_id)
        .order_by(row.id.desc())
        .limit(limit)
    )
    return [
        Happening(
            at=found.at,
            kind=found.kind,
            actor=found.actor,
            model=f"{found.name}/{found.version}" if found.name else None,
            detail=found.detail,
        )
        for found in session.execute(query)
    ]
