"""Delete originals that are older than an installation wants to keep; answers, reviews and rows stay.

The row says so first, then the file goes: whoever dies in between leaves a file that belongs to no radiograph, which
the doctor finds. The same content may come in at that moment: see `discard`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Select, exists, func, select, update
from sqlalchemy.orm import Session, aliased

from core.database import Database, now
from core.records.events import Event, record_events
from core.records.upkeep import known_contents
from core.storage import SAFE_AGE_SECONDS, key_of
from core.store import Store
from core.tables import ENDED, ArrivalRadiographRow, ArrivalRow, JobRow, RadiographRow

_AT_ONCE = 200
#: Questions to the store at once: a bucket answers each in some milliseconds, and several nearly as fast as one.
_ASKED_AT_ONCE = 8
#: A page of the same file.
_MATE = aliased(RadiographRow)


@dataclass(frozen=True)
class Expired:
    """Originals that are old enough to be deleted."""

    files: int
    bytes: int


def count_expired(session: Session, older_than_days: int) -> Expired:
    """Return what `delete_expired` would delete."""
    found = _expired(now(session) - timedelta(days=older_than_days)).subquery()
    size = func.coalesce(func.sum(found.c.bytes), 0)
    files, total = session.execute(select(func.count(), size).select_from(found)).one()
    return Expired(files, int(total))


def delete_expired(database: Database, store: Store, older_than_days: int, actor: str) -> Iterator[Expired]:
    """Delete the originals that came in for the last time so many days ago and have no work left, some hundred at once.

    Args:
        database: Where the radiographs are.
        store: Where the originals are.
        older_than_days: Counted from the last time that the same content came in.
        actor: Who does it, for the audit trail.

    Yields:
        What was deleted since the last time.

    Raises:
        Unavailable: The database or the store is away; call again.
        OSError: A file cannot be deleted; the doctor finds it later.
    """
    after = 0
    while True:
        with database.reading() as session:
            page = session.execute(_page(session, older_than_days, after)).all()
        # One that was touched lately may be coming in at this moment; next time it counts.
        untouched = _untouched(store, [row.storage_key for row in page])
        with database.transaction() as session:  # a store may take its time, so it was asked before
            expired = session.execute(_page(session, older_than_days, after)).all()
            old = [row for row in expired if row.storage_key in untouched]
            _mark(session, [row.sha256 for row in old], older_than_days, actor)
        for row in old:
            discard(database, store, row.storage_key.rpartition("/")[2])
        if old:
            yield Expired(len(old), sum(row.bytes for row in old))
        if len(page) < _AT_ONCE:
            return
        after = page[-1].id


def discard(database: Database, store: Store, digest: str) -> bool:
    """Delete a stored content that no radiograph needs; return whether it is gone.

    The content may be coming in at this moment: the store looks once more, and asks once more, before it deletes.
    """

    def is_needed() -> bool:
        with database.reading() as session:
            return bool(known_contents(session, [digest]))

    return store.discard(key_of(digest), is_needed)


def _page(session: Session, older_than_days: int, after: int) -> Select[int, str, str, int]:
    query = _expired(now(session) - timedelta(days=older_than_days))
    return query.where(RadiographRow.id > after).order_by(RadiographRow.id).limit(_AT_ONCE)


def _mark(session: Session, digests: Sequence[str], older_than_days: int, actor: str) -> None:
    """Note of these contents' radiographs that their originals are deleted."""
    if not digests:
        return
    at = now(session)
    marked = (
        update(RadiographRow)
        .where(RadiographRow.sha256.in_(digests), RadiographRow.original_deleted_at.is_(None))
        .values(original_deleted_at=at)
        .returning(RadiographRow.id)
        .execution_options(synchronize_session=False)
    )
    detail = {"older_than_days": older_than_days}
    numbers = sorted(session.scalars(marked))
    events = [Event(kind="original-deleted", actor=actor, radiograph_id=number, detail=detail) for number in numbers]
    record_events(session, at, events)


def _untouched(store: Store, keys: Sequence[str]) -> set[str]:
    """Return the keys under which nothing was written or wanted lately; also those under which nothing lies."""
    with ThreadPoolExecutor(_ASKED_AT_ONCE) as side_by_side:
        ages = side_by_side.map(store.age_seconds, keys)
        return {key for key, age in zip(keys, ages, strict=True) if age is None or age > SAFE_AGE_SECONDS}


def _expired(before: datetime) -> Select[int, str, str, int]:
    """Return files whose radiographs came in for the last time before a moment and have no unfinished job."""
    unfinished = (
        select(JobRow.id)
        .join(_MATE, _MATE.id == JobRow.radiograph_id)
        .where(_MATE.sha256 == RadiographRow.sha256, JobRow.status.not_in(ENDED))
        .correlate(RadiographRow)
    )
    again = (
        select(ArrivalRow.id)
        .join(ArrivalRadiographRow, ArrivalRadiographRow.arrival_id == ArrivalRow.id)
        .where(ArrivalRadiographRow.radiograph_id == RadiographRow.id, ArrivalRow.received_at >= before)
        .correlate(RadiographRow)
    )
    return select(RadiographRow.id, RadiographRow.sha256, RadiographRow.storage_key, RadiographRow.bytes).where(
        RadiographRow.received_at < before,
        RadiographRow.original_deleted_at.is_(None),
        RadiographRow.frame == 0,
        ~exists(unfinished),
        ~exists(again),
    )
