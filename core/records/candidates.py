"""Which radiographs can be on a page of results, newest first, found through the index that suits the filters.

A database without statistics of its columns (SQLite) cannot know whether a filter leaves five rows or half a million.
So it is tried: few matches are fetched whole and sorted; otherwise matches are frequent, and walking down from the
newest meets a page of them soon. Either way a page costs the same in a table of a thousand and of a million.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Select, SQLColumnExpression, and_, func, or_, select, union
from sqlalchemy.orm import InstrumentedAttribute, Session

from core.records.filters import Filters
from core.records.names import has_name, named, named_downwards
from core.tables import FIRST, ArrivalRadiographRow, ArrivalRow, JobRow, PredictionRow, RadiographRow, ReadingRow

#: Matches up to which all are fetched and sorted.
_FEW = 5_000
#: Ids that are looked at at once, where most of them turn out not to match.
_LARGEST_PAGE = 5_000
#: Ids in one statement.
_AT_ONCE = 500
#: Ids rise with the time of receipt, but for what was written at the same time or with a clock put right.
_DISORDER = timedelta(hours=1)


def candidates(
    session: Session, filters: Filters, model_ids: Sequence[int], *, size: int, before_id: int | None
) -> Iterator[list[int]]:
    """Yield pages of radiographs' ids, descending. Every match is among them; not all of them are matches.

    Args:
        session: An open transaction.
        filters: What is wanted.
        model_ids: The model versions whose answers are looked at.
        size: Ids in the first page; later ones grow.
        before_id: Only smaller ids.
    """
    few = _all_if_few(session, filters, model_ids)
    if few is not None:
        ids = sorted({number for number in few if before_id is None or number < before_id}, reverse=True)
        for start in range(0, len(ids), size):
            yield ids[start : start + size]
        return
    lowest, highest = _ids_received(session, filters.since, filters.until)
    if highest is not None and (before_id is None or highest < before_id):
        before_id = highest + 1
    while True:
        query = _walk(session, filters, model_ids, size=size, lowest=lowest, before_id=before_id)
        page = list(session.scalars(query))
        if page:
            yield page
        if len(page) < size:
            return
        before_id, size = page[-1], min(2 * size, _LARGEST_PAGE)


@dataclass(frozen=True)
class Mark:
    """Where an answer stands in the order of confidence."""

    confidence: float
    radiograph_id: int


def candidates_by_confidence(
    session: Session, filters: Filters, model_ids: Sequence[int], *, size: int, doubt: bool, after: Mark | None
) -> Iterator[list[Mark]]:
    """Yield pages of answers in the order of confidence, among them every match.

    Args:
        session: An open transaction.
        filters: What is wanted.
        model_ids: The model versions whose answers are looked at.
        size: Answers in the first page; later ones grow.
        doubt: The least sure first, else the surest.
        after: Only what comes after this.
    """
    confidence, radiograph = PredictionRow.confidence, PredictionRow.radiograph_id
    if filters.name is not None and (few := _all_if_few(session, Filters(name=filters.name), model_ids)) is not None:
        yield _marks(session, few, model_ids, doubt=doubt, after=after)
        return
    while True:
        conditions = _confidences(filters, confidence)
        if filters.label is not None:
            conditions.append(PredictionRow.label == filters.label)
        if after is not None:
            conditions.append(beyond(after, doubt=doubt))
        # As above: an index walks one version's answers, several are merged.
        each = [
            select(confidence.label("confidence"), radiograph.label("radiograph_id"))
            .where(PredictionRow.model_version_id == version, *conditions)
            .order_by(*((confidence, radiograph) if doubt else (confidence.desc(), radiograph.desc())))
            .limit(size)
            .subquery()
            for version in model_ids
        ]
        merged = union(*(select(one) for one in each)).subquery()
        order = (merged.c.confidence, merged.c.radiograph_id)
        query = select(merged).order_by(*(order if doubt else (order[0].desc(), order[1].desc()))).limit(size)
        page = [Mark(row.confidence, row.radiograph_id) for row in session.execute(query)]
        if page:
            yield page
        if len(page) < size:
            return
        after, size = page[-1], min(2 * size, _LARGEST_PAGE)


def _marks(
    session: Session, radiograph_ids: Sequence[int], model_ids: Sequence[int], *, doubt: bool, after: Mark | None
) -> list[Mark]:
    """Return where the answers of a few radiographs stand, in the order of confidence."""
    confidence, radiograph = PredictionRow.confidence, PredictionRow.radiograph_id
    found = []
    for start in range(0, len(radiograph_ids), _AT_ONCE):
        wanted = radiograph.in_(radiograph_ids[start : start + _AT_ONCE])
        query = select(confidence, radiograph).where(wanted, PredictionRow.model_version_id.in_(model_ids))
        if after is not None:
            query = query.where(beyond(after, doubt=doubt))
        found += [Mark(*row) for row in session.execute(query)]
    return sorted(set(found), key=lambda mark: (mark.confidence, mark.radiograph_id), reverse=not doubt)


def beyond(mark: Mark, *, doubt: bool) -> ColumnElement[bool]:
    """Return the condition that an answer comes after a mark: less doubtful than it, or else less sure."""
    confidence, radiograph = PredictionRow.confidence, PredictionRow.radiograph_id
    further = confidence > mark.confidence if doubt else confidence < mark.confidence
    later = radiograph > mark.radiograph_id if doubt else radiograph < mark.radiograph_id
    return or_(further, and_(confidence == mark.confidence, later))


def _all_if_few(session: Session, filters: Filters, model_ids: Sequence[int]) -> list[int] | None:
    """Return every radiograph that passes one of the filters, if one of them lets few pass."""
    for query in _one_filter_each(session, filters, model_ids):
        found = list(session.scalars(query.limit(_FEW + 1)))
        if len(found) <= _FEW:
            return found
    return None


def _one_filter_each(session: Session, filters: Filters, model_ids: Sequence[int]) -> Iterator[Select[int]]:
    """Yield a query for each filter that an index answers, the ones that leave least first."""
    radiograph = select(RadiographRow.id)
    if filters.sha256 is not None:
        yield radiograph.where(RadiographRow.sha256 == filters.sha256)
    if filters.submission is not None:
        yield in_submission(filters.submission)
    if filters.name is not None and (query := named(session, filters.name)) is not None:
        yield query
    if dates := _dates(filters):
        yield radiograph.where(*dates)
    answered = select(PredictionRow.radiograph_id).where(PredictionRow.model_version_id.in_(model_ids))
    if filters.label is not None:
        answered = answered.where(PredictionRow.label == filters.label)
    if confidences := _confidences(filters, PredictionRow.confidence):
        yield answered.where(*confidences)
    elif filters.label is not None:
        yield answered
    if filters.agreed is not None:
        readings = select(ReadingRow.radiograph_id).where(ReadingRow.reading == FIRST)
        yield readings.where(ReadingRow.agreed == filters.agreed)
    elif filters.reviewed:
        yield select(ReadingRow.radiograph_id).where(ReadingRow.reading == FIRST)
    if filters.status is not None:
        asked = JobRow.model_version_id.in_(model_ids)
        yield select(JobRow.radiograph_id).where(asked, JobRow.status == filters.status)
    if filters.source is not None:
        yield radiograph.where(RadiographRow.source == filters.source)


def _walk(
    session: Session,
    filters: Filters,
    model_ids: Sequence[int],
    *,
    size: int,
    lowest: int | None,
    before_id: int | None,
) -> Select[int]:
    """Return the query for the next ids downwards, along the index of the filter that leaves least."""
    # Adding nought keeps an index out of which SQLite would fetch all matches, to sort them for every page.
    confidences = _confidences(filters, PredictionRow.confidence + 0.0)
    if filters.label is not None:
        conditions = [PredictionRow.label == filters.label, *confidences]
        column, versions = PredictionRow.radiograph_id, PredictionRow.model_version_id
    elif confidences:
        conditions = [(PredictionRow.model_version_id + 0).in_(model_ids), *confidences]
        return _downwards(PredictionRow.radiograph_id, conditions, size, lowest, before_id)
    elif filters.status is not None:
        conditions = [JobRow.status == filters.status]
        column, versions = JobRow.radiograph_id, JobRow.model_version_id
    else:
        conditions = [] if filters.source is None else [RadiographRow.source == filters.source]
        if filters.name is not None:
            if not conditions and (query := named_downwards(session, filters.name)) is not None:
                return _bounded(query, query.selected_columns[0], size, lowest, before_id)
            conditions.append(has_name(filters.name))
        return _downwards(RadiographRow.id, conditions, size, lowest, before_id)
    # One index walks one version's answers in order; several versions are walked side by side and merged.
    each = [
        _downwards(column, [versions == version, *conditions], size, lowest, before_id).subquery()
        for version in model_ids
    ]
    merged = union(*(select(one.c[0].label("id")) for one in each)).subquery()
    return select(merged.c.id).order_by(merged.c.id.desc()).limit(size)


def _downwards(
    column: InstrumentedAttribute[int],
    conditions: Sequence[ColumnElement[bool]],
    size: int,
    lowest: int | None,
    before_id: int | None,
) -> Select[int]:
    return _bounded(select(column).where(*conditions), column, size, lowest, before_id)


def _bounded(
    query: Select[int],
    column: ColumnElement[int] | InstrumentedAttribute[int],
    size: int,
    lowest: int | None,
    before_id: int | None,
) -> Select[int]:
    query = query.order_by(column.desc()).limit(size)
    if before_id is not None:
        query = query.where(column < before_id)
    return query if lowest is None else query.where(column >= lowest)


def in_submission(submission_id: int) -> Select[int]:
    """Return the query for the radiographs of one submission."""
    return (
        select(ArrivalRadiographRow.radiograph_id)
        .join(ArrivalRow, ArrivalRow.id == ArrivalRadiographRow.arrival_id)
        .where(ArrivalRow.submission_id == submission_id)
    )


def _confidences(filters: Filters, confidence: SQLColumnExpression[float]) -> list[ColumnElement[bool]]:
    conditions = []
    if filters.min_confidence is not None:
        conditions.append(confidence >= filters.min_confidence)
    if filters.max_confidence is not None:
        conditions.append(confidence <= filters.max_confidence)
    return conditions


def _dates(filters: Filters) -> list[ColumnElement[bool]]:
    conditions = []
    if filters.since is not None:
        conditions.append(RadiographRow.received_at >= filters.since)
    if filters.until is not None:
        conditions.append(RadiographRow.received_at < filters.until)
    return conditions


def _ids_received(session: Session, since: datetime | None, until: datetime | None) -> tuple[int | None, int | None]:
    """Return bounds of the ids received in a span of time that holds more than a few; None: no bound."""
    received = RadiographRow.received_at
    lowest = highest = None
    if since is not None:
        first = session.scalars(select(func.min(received)).where(received >= since)).one()
        near = received.between(first, first + _DISORDER)
        lowest = session.scalars(select(func.min(RadiographRow.id)).where(near)).one()
    if until is not None:
        last = session.scalars(select(func.max(received)).where(received < until)).one()
        near = received.between(last - _DISORDER, last)
        highest = session.scalars(select(func.max(RadiographRow.id)).where(near)).one()
    return lowest, highest
