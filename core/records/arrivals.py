"""One arrival with what it became and what was answered, for whoever sent it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.errors import NotAnswered, NotFound
from core.records.details import RadiographFacts, facts_with_original
from core.records.results import Result, all_results_of
from core.tables import ArrivalRadiographRow, ArrivalRow


@dataclass(frozen=True, kw_only=True)
class AnsweredArrival:
    """An arrival whose radiographs every model that was asked has answered, or failed at."""

    id: int
    submission_id: int
    received_at: datetime
    radiographs: tuple[RadiographFacts, ...]  # by frame
    results: tuple[Result, ...]  # by frame, then by model


def answered_arrival(session: Session, arrival_id: int) -> AnsweredArrival:
    """Return an arrival with its results.

    Raises:
        NotFound: There is no such arrival.
        NotAnswered: It was refused, or some model still has to answer.
        OriginalDeleted: What was stored of it is gone.
    """
    row = session.get(ArrivalRow, arrival_id)
    if row is None:
        raise NotFound(f"There is no arrival {arrival_id}.")
    if row.error_words:
        raise NotAnswered(f"Arrival {arrival_id} was refused, so there is no result: {row.error_words}")
    became = select(ArrivalRadiographRow.radiograph_id).where(ArrivalRadiographRow.arrival_id == arrival_id)
    radiographs = sorted(
        (facts_with_original(session, number) for number in session.scalars(became)), key=lambda each: each.frame
    )
    results = tuple(result for radiograph in radiographs for result in all_results_of(session, radiograph.id))
    if any(result.unfinished for result in results):
        raise NotAnswered(f"There is no result of arrival {arrival_id} yet: some model still has to answer.")
    return AnsweredArrival(
        id=row.id,
        submission_id=row.submission_id,
        received_at=row.received_at,
        radiographs=tuple(radiographs),
        results=results,
    )
