"""Which of the inbox's files have ended, so that they can leave `processing/`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Select, exists, func, or_, select, update
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
    unsettled = _arrivals().where(ArrivalRow.id > after, ArrivalRow.claim.is_not(None), ArrivalRow.settled_at.is_(None))
    return _settled(
        session, unsettled.where(~_has_job(JobRow.status.not_in(ENDED))).order_by(ArrivalRow.id).limit(limit)
    )


def long_ended(session: Session, claims: Sequence[str], *, for_seconds: float) -> list[Settled]:
    """Return those of these folders below `processing/` whose work ended long ago, marked as settled or not."""
    since = now(session) - timedelta(seconds=for_seconds)
    lately = _has_job(or_(JobRow.status.not_in(ENDED), JobRow.finished_at > since))
    query = _arrivals().where(ArrivalRow.claim.in_(claims), ArrivalRow.received_at <= since, ~lately)
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


def _arrivals() -> Select[int, str | None, ArrivalStatus, str | None]:
    """Return the query for what `_settled` needs: columns, since thousands of objects cost more than the query."""
    return select(ArrivalRow.id, ArrivalRow.claim, ArrivalRow.status, ArrivalRow.error_words)


def _settled(session: Session, query: Select[int, str | None, ArrivalStatus, str | None]) -> list[Settled]:
    rows = session.execute(query).all()
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


def members_of(session: Session, claim: str) -> tuple[set[str], int | None]:
    """Return the claims of an archive's files that have an arrival, and the submission that they belong to."""
    query = select(ArrivalRow.claim, ArrivalRow.submission_id).where(ArrivalRow.came_with == claim)
    rows = session.execute(query).all()
    return {row.claim for row in rows if row.claim}, rows[0].submission_id if rows else None


def unsettled_members(session: Session, claim: str) -> bool:
    """Whether some file of an archive, or of a folder, has not ended."""
    query = select(ArrivalRow.id).where(ArrivalRow.came_with == claim, ArrivalRow.settled_at.is_(None)).limit(1)
    return session.scalars(query).first() is not None


def latest_settled(session: Session, came_with: str) -> tuple[bool, datetime | None]:
    """Return whether anything came in an archive or a folder, and when the last of it ended; None: not all has."""
    together = ArrivalRow.came_with == came_with
    if session.scalars(select(ArrivalRow.id).where(together).limit(1)).first() is None:
        return False, None
    if unsettled_members(session, came_with):
        return True, None
    return True, session.scalars(select(func.max(ArrivalRow.settled_at)).where(together)).one()


def opened_claims(session: Session, claims: Sequence[str]) -> set[str]:
    """Return which of these folders below `processing/` hold an archive of which some file has an arrival."""
    return {claim for claim in claims if members_of(session, claim)[1] is not None}


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
