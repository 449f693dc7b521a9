"""A kind model's answers on radiographs on which another model suspects a fracture, added up by the week.

A model of kinds names one for unbroken bones too, and its card knows none: such answers say nothing about drift.
Tallies cannot leave them out, since either model may answer first, so the answers themselves are looked at.
"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time, timedelta

from sqlalchemy import Text, cast, func, select
from sqlalchemy.orm import Session, aliased

from core.records.fractures import affirms
from core.records.tallies import Tally, monday_of
from core.tables import PredictionRow

#: The newest answers that are looked at; shares of a week need not be counted to the last one.
_MOST = 100_000
_BINARY = aliased(PredictionRow)


def weekly_suspected(session: Session, model_id: int, binary_id: int, *, since: date) -> dict[date, Tally]:
    """Return one model's answers by week as `tallies.weekly`, only where the other one suspects a fracture.

    Args:
        session: An open transaction.
        model_id: The model version whose answers are added up.
        binary_id: The model version of the binary question.
        since: A Monday.
    """
    last = session.scalar(select(func.max(PredictionRow.id))) or 0
    found: dict[date, Tally] = {}
    monday, low = monday_of(since), max(_first_since(session, since, last), last - _MOST + 1)
    while low <= last:
        monday += timedelta(weeks=1)
        high = _first_since(session, monday, last)
        tally = _between(session, model_id, binary_id, low, high)
        if tally.answers:
            found[monday - timedelta(weeks=1)] = tally
        low = max(low, high)
    return found


def _between(session: Session, model_id: int, binary_id: int, low: int, high: int) -> Tally:
    flags = cast(PredictionRow.flags, Text)
    query = (
        select(PredictionRow.label, flags, _BINARY.label, func.count(), func.sum(PredictionRow.confidence))
        .join(_BINARY, _BINARY.radiograph_id == PredictionRow.radiograph_id)
        .where(
            PredictionRow.id >= low,
            PredictionRow.id < high,
            PredictionRow.model_version_id == model_id,
            _BINARY.model_version_id == binary_id,
        )
        .group_by(PredictionRow.label, flags, _BINARY.label)
    )
    tally = Tally()
    for label, raised, said, count, confidence in session.execute(query):
        if affirms(said):
            tally.answers += count
            tally.confidence += confidence
            tally.labels[label] += count
            tally.flags.update(dict.fromkeys(json.loads(raised), count))
    return tally


def _first_since(session: Session, day: date, last: int) -> int:
    """Return the first id that was stored on a day or later, by halves: ids grow with time, and no index has it."""
    begin = datetime.combine(day, time(), UTC)
    low, high = 0, last + 1
    while low < high:
        middle = (low + high) // 2
        query = select(PredictionRow.id, PredictionRow.created_at).where(PredictionRow.id >= middle)
        number, at = session.execute(query.order_by(PredictionRow.id).limit(1)).one()
        if at >= begin:
            high = middle
        else:
            low = number + 1
    return low
