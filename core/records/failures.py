"""Failures grouped by cause: how many, what they say of themselves, and whether they pass by themselves."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, and_, func, select
from sqlalchemy.orm import Session

from core.errors import passing_codes
from core.tables import JobRow, JobStatus

#: Counted up to here; more are "more than".
MOST_COUNTED = 10_000
_EXAMPLES = 3
#: Causes that are told apart; there are about twenty.
_MOST_CAUSES = 50
_ENDED_BADLY = (JobStatus.FAILED, JobStatus.QUARANTINED)


@dataclass(frozen=True)
class Cause:
    """Jobs in trouble for one reason."""

    code: str
    failed: int  # ended; at most MOST_COUNTED of each status
    pausing: int  # wait and are tried again by themselves, a little later each time
    passing: bool  # such a cause goes away by itself (a full disk, a database that is away)
    words: str  # what one of them says of itself
    examples: tuple[int, ...]  # radiographs
    next_try: datetime | None  # of those that pause

    @property
    def count(self) -> int:
        """All of them."""
        return self.failed + self.pausing


def causes(session: Session) -> tuple[Cause, ...]:
    """Return what is in trouble now, the most frequent cause first. The cost is bounded, whatever has failed."""
    ended = {status: set(_codes(session, status)) for status in _ENDED_BADLY}
    pausing = set(_codes(session, JobStatus.WAITING))
    passing = passing_codes()
    found = [
        _cause(session, code, [status for status in _ENDED_BADLY if code in ended[status]], code in pausing, passing)
        for code in sorted(set().union(pausing, *ended.values()))
    ]
    return tuple(sorted(found, key=lambda cause: (-cause.count, cause.code)))


def _codes(session: Session, status: JobStatus) -> list[str]:
    """Return the codes that occur, each found by one step along the index."""
    found: list[str] = []
    while len(found) < _MOST_CAUSES:
        beyond = JobRow.error_code > (found[-1] if found else "")
        code = session.scalar(select(func.min(JobRow.error_code)).where(JobRow.status == status, beyond))
        if code is None:
            break
        found.append(code)
    return found


def _cause(session: Session, code: str, statuses: list[JobStatus], is_pausing: bool, passing: frozenset[str]) -> Cause:
    def having(status: JobStatus) -> ColumnElement[bool]:
        return and_(JobRow.status == status, JobRow.error_code == code)

    def count(status: JobStatus) -> int:
        some = select(JobRow.id).where(having(status)).limit(MOST_COUNTED).subquery()
        return session.scalar(select(func.count()).select_from(some)) or 0

    ids: list[int] = []
    words = ""
    next_try = None
    for status in [*statuses, *([JobStatus.WAITING] if is_pausing else [])]:
        query = select(JobRow.radiograph_id, JobRow.error_words).where(having(status)).limit(_EXAMPLES)
        for radiograph_id, said in session.execute(query):
            ids.append(radiograph_id)
            words = words or said or ""
    if is_pausing:
        some = select(JobRow.available_at).where(having(JobStatus.WAITING)).limit(MOST_COUNTED).subquery()
        next_try = session.scalar(select(func.min(some.c.available_at)))
    return Cause(
        code=code,
        failed=sum(count(status) for status in statuses),
        pausing=count(JobStatus.WAITING) if is_pausing else 0,
        passing=code in passing,
        words=words,
        examples=tuple(dict.fromkeys(ids))[:_EXAMPLES],
        next_try=next_try,
    )
