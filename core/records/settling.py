"""Which of the inbox's files have ended, so that they can leave `processing/`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import ColumnElement, Select, exists, or_, select, update
from sqlalchemy.orm import Session

from core.database import now
from core.tables import ENDED, ArrivalRadiographRow, ArrivalRow, ArrivalStatus, JobRow, JobStatus


@dataclass(frozen=True)
class Settled:
    """One file of the inbox whose work has ended."""

    arrival_id: int
    claim: str  # its folder below processing/
    reasons: tuple[str, ...]  # sentences; empty: everything went well


def ended_arrivals(session: Session, *, limit: int, after: int = 0) -> list[Settled]:
    """Return files that still lie in `processing/` and whose jobs have all ended, oldest first, after one arrival."""
    unsettled = select(ArrivalRow).where(
        ArrivalRow.id > after, ArrivalRow.claim.is_not(None), ArrivalRow.settled_at.is_(None)
    )
    return _settled(
        session, unsettled.where(~_has_job(JobRow.status.not_in(ENDED))).order_by(ArrivalRow.id).limit(limit)
    )


def long_ended(session: Session, claims: Sequence[str], *, for_seconds: float) -> list[Settled]:
    """Return those of these folders below `processing/` whose work ended long ago, marked as settled or not."""
    since = now(session) - timedelta(seconds=for_seconds)
    lately = _has_job(or_(JobRow.status.not_in(ENDED), JobRow.finished_at > since))
    query = select(ArrivalRow).where(ArrivalRow.claim.in_(claims), ArrivalRow.received_at <= since, ~lately)
    return _settled(session, query.order_by(ArrivalRow.id))


def recorded_lately(session: Session, *, within_seconds: float) -> bool:
    """Whether a file of the inbox was recorded lately: then its process is working its way through what it took."""
    query = select(ArrivalRow.received_at).where(ArrivalRow.claim.is_not(None)).order_by(ArrivalRow.id.desc()).limit(1)
    latest = session.scalars(query).first()
    return latest is not None and latest > now(session) - timedelta(seconds=within_seconds)


def _has_job(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """Whether an arrival has a job of this kind."""
    return exists(
        select(JobRow.id)
        .join(ArrivalRadiographRow, ArrivalRadiographRow.radiograph_id == JobRow.radiograph_id)
        .where(ArrivalRadiographRow.arrival_id == ArrivalRow.id, condition)
    )


def _settled(session: Session, query: Select[ArrivalRow]) -> list[Settled]:
    rows = session.scalars(query).all()
    reasons = _failures(session, [row.id for row in rows])
    return [
        Settled(
            arrival_id=row.id,
            claim=row.claim or "",
            reasons=(row.error_words or "It was rejected.",)
            if row.status == ArrivalStatus.REJECTED
            else reasons.get(row.id, ()),
        )
        for row in rows
    ]


def known_claims(session: Session, claims: Sequence[str]) -> set[str]:
    """Return which of these folders below `processing/` have an arrival."""
    return {claim for claim in session.scalars(select(ArrivalRow.claim).where(ArrivalRow.claim.in_(claims))) if claim}


def mark_settled(session: Session, arrival_ids: Sequence[int]) -> None:
    """Note that the files have left `processing/`."""
    at = now(session)
    session.execute(update(ArrivalRow).where(ArrivalRow.id.in_(arrival_ids)).values(settled_at=at))


def _failures(session: Session, arrival_ids: Sequence[int]) -> dict[int, tuple[str, ...]]:
    query = (
        select(ArrivalRadiographRow.arrival_id, JobRow.status, JobRow.error_words)
        .join(JobRow, JobRow.radiograph_id == ArrivalRadiographRow.radiograph_id)
        .where(ArrivalRadiographRow.arrival_id.in_(arrival_ids), JobRow.status != JobStatus.DONE)
        .order_by(ArrivalRadiographRow.arrival_id, JobRow.id)
    )
    reasons: dict[int, tuple[str, ...]] = {}
    for arrival_id, status, words in session.execute(query):
        sentence = words or ("It was cancelled." if status == JobStatus.CANCELLED else f"It ended as {status.value}.")
        if sentence not in reasons.get(arrival_id, ()):
            reasons[arrival_id] = (*reasons.get(arrival_id, ()), sentence)
    return reasons
