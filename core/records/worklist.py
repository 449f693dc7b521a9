"""What is to be reviewed next: likely errors first, which is where the model was least sure."""

from __future__ import annotations

from sqlalchemy import Exists, Select, exists, select
from sqlalchemy.orm import Session, aliased

from core.records.candidates import Mark, beyond
from core.records.fractures import FRACTURE_TASK, affirms
from core.tables import FIRST, SECOND, ModelVersionRow, PredictionRow, ReadingRow, ReviewKind

_SECOND_READING = aliased(ReadingRow)
_BINARY = aliased(PredictionRow)


def place_of(session: Session, radiograph_id: int, model_id: int) -> Mark | None:
    """Return a radiograph's place, or None where this model version has not answered."""
    query = select(PredictionRow.confidence).where(
        PredictionRow.radiograph_id == radiograph_id, PredictionRow.model_version_id == model_id
    )
    confidence = session.scalar(query)
    return None if confidence is None else Mark(confidence, radiograph_id)


def first_readings(
    session: Session, model_id: int, *, limit: int, after: Mark | None = None, reviewed_too: bool = False
) -> list[int]:
    """Return radiographs that await their first reading, the most doubtful answers of one model version first.

    Where a model of kinds of fracture is asked about, those are left out in which an active binary model suspects no
    fracture: the kind that is named there is nobody's claim.

    Args:
        session: An open transaction.
        model_id: The model version whose answers are judged.
        limit: Most radiographs.
        after: Only what comes later in this order.
        reviewed_too: Also those that have a reading.
    """
    query = _in_doubt(session, model_id).order_by(PredictionRow.confidence, PredictionRow.radiograph_id).limit(limit)
    if not reviewed_too:
        query = query.where(~_has_reading(FIRST))
    if after is not None:
        query = query.where(beyond(after, doubt=True))
    return list(session.scalars(query))


def place_before(session: Session, model_id: int, place: Mark) -> int | None:
    """Return the radiograph that comes before another in the order of doubt, reviewed or not."""
    query = _in_doubt(session, model_id).order_by(PredictionRow.confidence.desc(), PredictionRow.radiograph_id.desc())
    return session.scalar(query.where(beyond(place, doubt=False)).limit(1))


def second_readings(session: Session, reviewer: str, *, limit: int, after_id: int = 0) -> list[int]:
    """Return radiographs that somebody else has read first and nobody has read again, oldest first."""
    again = exists().where(
        _SECOND_READING.radiograph_id == ReadingRow.radiograph_id,
        _SECOND_READING.reading == SECOND,
        _SECOND_READING.kind != ReviewKind.WITHDRAWN,
    )
    query = (
        select(ReadingRow.radiograph_id)
        .where(
            ReadingRow.reading == FIRST,
            ReadingRow.kind != ReviewKind.WITHDRAWN,
            ReadingRow.reviewer != reviewer,
            ReadingRow.radiograph_id > after_id,
            ~again,
        )
        .order_by(ReadingRow.radiograph_id)
        .limit(limit)
    )
    return list(session.scalars(query))


def _in_doubt(session: Session, model_id: int) -> Select[int]:
    query = select(PredictionRow.radiograph_id).where(PredictionRow.model_version_id == model_id)
    models = session.execute(
        select(ModelVersionRow.id, ModelVersionRow.task, ModelVersionRow.active, ModelVersionRow.card)
    )
    by_id = {row.id: row for row in models}
    if by_id[model_id].task == FRACTURE_TASK:
        return query
    for model in by_id.values():
        if model.task == FRACTURE_TASK and model.active:
            denied = [str(label) for label in model.card.get("labels", ()) if not affirms(str(label))]
            unsuspected = exists().where(
                _BINARY.radiograph_id == PredictionRow.radiograph_id,
                _BINARY.model_version_id == model.id,
                _BINARY.label.in_(denied),
            )
            query = query.where(~unsuspected)
    return query


def _has_reading(reading: int) -> Exists:
    return exists().where(
        ReadingRow.radiograph_id == PredictionRow.radiograph_id,
        ReadingRow.reading == reading,
        ReadingRow.kind != ReviewKind.WITHDRAWN,
    )
