"""What came in together, and where each of its files stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Select, case, func, literal_column, select
from sqlalchemy.orm import Session, aliased

from core.errors import NotFound
from core.records.results import Result, results_of
from core.tables import ArrivalRadiographRow, ArrivalRow, ArrivalStatus, JobRow, JobStatus, Source, SubmissionRow

#: Made once: a new alias costs nearly half a millisecond.
_EARLIER = aliased(ArrivalRadiographRow)
#: Of a file's jobs the one whose status comes last here says where the file stands.
_RANKS = (
    JobStatus.DONE,
    JobStatus.CANCELLED,
    JobStatus.FAILED,
    JobStatus.QUARANTINED,
    JobStatus.WAITING,
    JobStatus.RUNNING,
)
#: Ids in one statement.
_AT_ONCE = 500


@dataclass(frozen=True, kw_only=True)
class FileState:
    """One file of a submission."""

    arrival_id: int
    name: str
    status: ArrivalStatus
    duplicate: bool  # the same bytes were here before
    error: dict[str, str] | None  # code and words of a rejection
    results: tuple[Result, ...]  # of its radiographs: several for a file with several pages

    @property
    def unfinished(self) -> bool:
        """Whether a job of this file still has to end."""
        return any(result.unfinished for result in self.results)


@dataclass(frozen=True)
class FileCounts:
    """How many files of a submission stand where: by the least finished of a file's jobs."""

    by_status: dict[JobStatus, int]
    rejected: int  # refused at the door

    @property
    def accepted(self) -> int:
        """Files that the door let in."""
        return sum(self.by_status.values())

    @property
    def unfinished(self) -> int:
        """Files that still wait for an answer."""
        return self.by_status[JobStatus.WAITING] + self.by_status[JobStatus.RUNNING]

    def document(self) -> dict[str, int]:
        """Return it as JSON types; the keys are a contract."""
        return {**{status.value: count for status, count in self.by_status.items()}, "rejected": self.rejected}


@dataclass(frozen=True, kw_only=True)
class SubmissionState:
    """One upload, drop or command."""

    id: int
    name: str
    source: Source
    created_at: datetime
    counts: FileCounts  # of all its files
    files: tuple[FileState, ...]  # in the order in which they came; perhaps not all of them
    following: int | None  # the files after these come after this arrival; None: there are no more

    @property
    def unfinished(self) -> int:
        """How many files still wait for an answer."""
        return self.counts.unfinished

    @property
    def rejected(self) -> int:
        """How many files were refused at the door."""
        return self.counts.rejected


@dataclass(frozen=True, kw_only=True)
class SubmissionRecord:
    """One line of the list of submissions."""

    id: int
    name: str
    source: Source
    created_at: datetime
    files: int


def submission_state(
    session: Session,
    submission_id: int,
    *,
    arrival_ids: Sequence[int] | None = None,
    after: int = 0,
    limit: int | None = None,
) -> SubmissionState:
    """Return a submission with its files' states.

    Args:
        session: An open transaction.
        submission_id: Which one.
        arrival_ids: Only these of its files; None: all.
        after: Only files that came after this arrival.
        limit: Most files; None: all.

    Raises:
        NotFound: There is no such submission.
    """
    row = session.get(SubmissionRow, submission_id)
    if row is None:
        raise NotFound(f"There is no submission {submission_id}.")
    arrivals = _arrivals(session, submission_id, arrival_ids, after, None if limit is None else limit + 1)
    more = limit is not None and len(arrivals) > limit
    arrivals = arrivals[:limit]
    radiographs, duplicates = _links(session, [arrival.id for arrival in arrivals])
    wanted = sorted({number for arrival in arrivals for number in radiographs.get(arrival.id, ())})
    results = results_of(session, wanted)
    return SubmissionState(
        id=row.id,
        name=row.name,
        source=row.source,
        created_at=row.created_at,
        counts=file_counts(session, submission_id),
        files=tuple(
            FileState(
                arrival_id=arrival.id,
                name=arrival.name,
                status=arrival.status,
                duplicate=arrival.id in duplicates,
                error=None
                if arrival.error_code is None
                else {"code": arrival.error_code, "words": arrival.error_words or ""},
                results=tuple(
                    sorted(
                        (results[number] for number in radiographs.get(arrival.id, ())), key=lambda result: result.frame
                    )
                ),
            )
            for arrival in arrivals
        ),
        following=arrivals[-1].id if more else None,
    )


def submission_of(session: Session, arrival_id: int) -> int:
    """Return the submission that an arrival belongs to."""
    return session.scalars(select(ArrivalRow.submission_id).where(ArrivalRow.id == arrival_id)).one()


def file_counts(session: Session, submission_id: int) -> FileCounts:
    """Count a submission's files; the cost is that of its files, however many others there are."""
    rank = func.max(case({status: place for place, status in enumerate(_RANKS)}, value=JobRow.status, else_=0))
    files = (
        select(ArrivalRow.status, rank.label("rank"))
        .outerjoin(ArrivalRadiographRow, ArrivalRadiographRow.arrival_id == ArrivalRow.id)
        .outerjoin(JobRow, JobRow.radiograph_id == ArrivalRadiographRow.radiograph_id)
        .where(ArrivalRow.submission_id == submission_id)
        .group_by(ArrivalRow.id, ArrivalRow.status)
        .subquery()
    )
    by_status, rejected = dict.fromkeys(JobStatus, 0), 0
    for status, place, count in session.execute(
        select(files.c.status, files.c.rank, func.count()).group_by(files.c.status, files.c.rank)
    ):
        if status == ArrivalStatus.REJECTED:
            rejected += count
        else:
            by_status[_RANKS[place or 0]] += count
    return FileCounts(by_status, rejected)


def list_submissions(
    session: Session, *, limit: int, name: str | None = None, before_id: int | None = None
) -> list[SubmissionRecord]:
    """Return one page of submissions, the newest first.

    Args:
        session: An open transaction.
        limit: Most submissions.
        name: Part of the name, in any case.
        before_id: Only submissions with a smaller id: the last id of the page before (keyset pages).
    """
    row = SubmissionRow
    query: Select[SubmissionRow] = select(row).order_by(row.id.desc()).limit(limit)
    if name is not None:
        # Literally as the partial index has it: of a bound value no database knows that it is empty.
        query = query.where(row.name != literal_column("''"), row.name.icontains(name, autoescape=True))
    if before_id is not None:
        query = query.where(row.id < before_id)
    rows = session.scalars(query).all()
    wanted = ArrivalRow.submission_id.in_([each.id for each in rows])
    counted = (
        select(ArrivalRow.submission_id, func.count().label("files")).where(wanted).group_by(ArrivalRow.submission_id)
    )
    counts = {row.submission_id: row.files for row in session.execute(counted)}
    return [
        SubmissionRecord(
            id=each.id, name=each.name, source=each.source, created_at=each.created_at, files=counts.get(each.id, 0)
        )
        for each in rows
    ]


def _arrivals(
    session: Session, submission_id: int, arrival_ids: Sequence[int] | None, after: int, limit: int | None
) -> list[ArrivalRow]:
    query = select(ArrivalRow).where(ArrivalRow.submission_id == submission_id, ArrivalRow.id > after)
    query = query.order_by(ArrivalRow.id).limit(limit)
    if arrival_ids is None:
        return list(session.scalars(query))
    return [
        arrival
        for start in range(0, len(arrival_ids), _AT_ONCE)
        for arrival in session.scalars(query.where(ArrivalRow.id.in_(sorted(arrival_ids)[start : start + _AT_ONCE])))
    ]


def _links(session: Session, arrival_ids: Sequence[int]) -> tuple[dict[int, list[int]], set[int]]:
    """Return the radiographs of each arrival, and the arrivals whose radiographs had come in before."""
    first_arrival = (
        select(func.min(_EARLIER.arrival_id))
        .where(_EARLIER.radiograph_id == ArrivalRadiographRow.radiograph_id)
        .correlate(ArrivalRadiographRow)
        .scalar_subquery()
    )
    query = select(ArrivalRadiographRow.arrival_id, ArrivalRadiographRow.radiograph_id, first_arrival).order_by(
        ArrivalRadiographRow.arrival_id, ArrivalRadiographRow.radiograph_id
    )
    radiographs: dict[int, list[int]] = {}
    duplicates = set()
    for start in range(0, len(arrival_ids), _AT_ONCE):
        wanted = ArrivalRadiographRow.arrival_id.in_(arrival_ids[start : start + _AT_ONCE])
        for arrival_id, radiograph_id, first in session.execute(query.where(wanted)):
            radiographs.setdefault(arrival_id, []).append(radiograph_id)
            if first < arrival_id:
                duplicates.add(arrival_id)
    return radiographs, duplicates
