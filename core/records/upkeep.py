"""What the doctor asks the database: work that is stuck, radiographs and their originals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import ColumnElement, and_, func, select
from sqlalchemy.orm import Session

from core.database import now
from core.tables import JobRow, JobStatus, RadiographRow

#: Examples that are named; the count says how many there are.
EXAMPLES = 5


@dataclass(frozen=True)
class Stuck:
    """Jobs in one kind of trouble."""

    count: int
    radiograph_ids: tuple[int, ...]  # the first few
    words: tuple[str, ...] = ()  # what those few jobs say of themselves


@dataclass(frozen=True)
class Original:
    """What the database knows of one stored file."""

    radiograph_id: int  # its first page
    sha256: str  # of the content as it came
    bytes: int  # likewise
    storage_key: str
    stored_sha256: str | None  # of what is stored, where that differs
    stored_bytes: int | None


def lapsed_leases(session: Session, *, for_seconds: float) -> Stuck:
    """Return jobs whose lease ran out so long ago that somebody should have returned them."""
    before = now(session) - timedelta(seconds=for_seconds)
    return _stuck(session, and_(JobRow.status == JobStatus.RUNNING, JobRow.lease_until < before))


def unheard_work(session: Session, *, for_seconds: float) -> Stuck:
    """Return claimable jobs for which no bell was rung for long."""
    at = now(session)
    heard_before = func.coalesce(JobRow.rung_at, JobRow.available_at) <= at - timedelta(seconds=for_seconds)
    return _stuck(session, and_(JobRow.status == JobStatus.WAITING, JobRow.available_at <= at, heard_before))


def quarantined_work(session: Session) -> Stuck:
    """Return what was set aside, with the evidence."""
    return _stuck(session, JobRow.status == JobStatus.QUARANTINED)


def originals(session: Session, *, after: int, limit: int) -> list[Original]:
    """Return the next stored files, in the order of their radiographs; pages after the first share their file's."""
    query = (
        select(
            RadiographRow.id,
            RadiographRow.sha256,
            RadiographRow.bytes,
            RadiographRow.storage_key,
            RadiographRow.stored_sha256,
            RadiographRow.stored_bytes,
        )
        .where(RadiographRow.id > after, RadiographRow.frame == 0, RadiographRow.original_deleted_at.is_(None))
        .order_by(RadiographRow.id)
        .limit(limit)
    )
    return [Original(*row) for row in session.execute(query)]


def known_contents(session: Session, digests: Sequence[str]) -> set[str]:
    """Return which of these stored contents (sha256) some radiograph needs: made of them, and not deleted since."""
    there = RadiographRow.original_deleted_at.is_(None)
    stored = select(RadiographRow.stored_sha256).where(RadiographRow.stored_sha256.in_(digests), there)
    as_it_came = select(RadiographRow.sha256).where(
        RadiographRow.sha256.in_(digests), RadiographRow.stored_sha256.is_(None), there
    )
    return {digest for query in (stored, as_it_came) for digest in session.scalars(query) if digest}


def _stuck(session: Session, condition: ColumnElement[bool]) -> Stuck:
    count = session.scalars(select(func.count()).select_from(JobRow).where(condition)).one()
    query = select(JobRow.radiograph_id, JobRow.error_words).where(condition).order_by(JobRow.id).limit(EXAMPLES)
    rows = session.execute(query).all() if count else []
    return Stuck(count, tuple(row.radiograph_id for row in rows), tuple(row.error_words or "" for row in rows))
