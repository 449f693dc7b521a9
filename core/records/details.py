"""Everything that is known of one radiograph: what each model said and how that went, and how it came in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.errors import OriginalDeleted
from core.records.results import get_radiograph
from core.tables import (
    ArrivalRadiographRow,
    ArrivalRow,
    JobRow,
    JobStatus,
    ModelVersionRow,
    PredictionRow,
    ScoreRow,
    Source,
    SubmissionRow,
)


@dataclass(frozen=True, kw_only=True)
class RadiographFacts:
    """One radiograph's row, as it was read; unlike the row itself it outlives its transaction."""

    id: int
    sha256: str
    frame: int
    media_type: str
    width: int  # pixels, before any EXIF rotation
    height: int
    bit_depth: int
    bytes: int
    storage_key: str
    name: str
    source: Source
    received_at: datetime
    original_deleted_at: datetime | None  # by `retention`
    patient_key: str | None  # the same for all files of a patient
    about: dict[str, Any] | None  # what a DICOM header says of the picture: the fields of `DicomFacts`


def radiograph_facts(session: Session, radiograph_id: int) -> RadiographFacts:
    """Return what is known of one radiograph itself.

    Raises:
        NotFound: There is no such radiograph.
    """
    row = get_radiograph(session, radiograph_id)
    return RadiographFacts(**{field.name: getattr(row, field.name) for field in fields(RadiographFacts)})


def facts_with_original(session: Session, radiograph_id: int) -> RadiographFacts:
    """Return what is known of a radiograph whose original is to be read.

    Raises:
        NotFound: There is no such radiograph.
        OriginalDeleted: The original was deleted.
    """
    facts = radiograph_facts(session, radiograph_id)
    if facts.original_deleted_at is not None:
        raise OriginalDeleted.of(radiograph_id, facts.original_deleted_at)
    return facts


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """A model's answer. Research and education only, never a diagnosis."""

    label: str
    confidence: float  # calibrated probability of the label, 0 to 1
    scores: Mapping[str, float]  # every label to its probability, most probable first
    prediction_set: tuple[str, ...]
    flags: tuple[str, ...]
    engine: str
    waited_ms: float  # from the job's creation to the start of the attempt that answered
    decode_ms: float
    infer_ms: float
    activation: bytes | None  # what in the picture spoke for the label; see core/activation.py


@dataclass(frozen=True, kw_only=True)
class ModelAnswer:
    """What one model version was asked about one radiograph, and what came of it."""

    radiograph_id: int
    model: str  # NAME/VERSION
    task: str
    title: str  # for people
    card_sha256: str
    card: Mapping[str, Any]
    active: bool
    status: JobStatus
    attempts: int
    deaths: int
    worker: str | None  # who holds the job, or held it last
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    error: dict[str, str] | None  # code and words
    prediction: Prediction | None


@dataclass(frozen=True, kw_only=True)
class CameIn:
    """One time that a radiograph came in."""

    arrival_id: int
    submission_id: int
    source: Source
    name: str  # as given
    received_at: datetime


def ways_in(session: Session, radiograph_id: int) -> list[CameIn]:
    """Return each time that a radiograph came in, oldest first."""
    query = (
        select(ArrivalRow, SubmissionRow.source)
        .join(ArrivalRadiographRow, ArrivalRadiographRow.arrival_id == ArrivalRow.id)
        .join(SubmissionRow, SubmissionRow.id == ArrivalRow.submission_id)
        .where(ArrivalRadiographRow.radiograph_id == radiograph_id)
        .order_by(ArrivalRow.id)
    )
    return [
        CameIn(
            arrival_id=arrival.id,
            submission_id=arrival.submission_id,
            source=source,
            name=arrival.name,
            received_at=arrival.received_at,
        )
        for arrival, source in session.execute(query)
    ]


def answers_of(session: Session, radiograph_id: int) -> list[ModelAnswer]:
    """Return what every model version that was asked about a radiograph has to say.

    The binary question comes first, active models before others, newer versions before older ones. A radiograph that
    does not exist has no answers.
    """
    rows = session.execute(
        select(JobRow, ModelVersionRow, PredictionRow)
        .join(ModelVersionRow, ModelVersionRow.id == JobRow.model_version_id)
        .outerjoin(
            PredictionRow,
            (PredictionRow.radiograph_id == JobRow.radiograph_id)
            & (PredictionRow.model_version_id == JobRow.model_version_id),
        )
        .where(JobRow.radiograph_id == radiograph_id)
        .order_by(ModelVersionRow.active.desc(), ModelVersionRow.task != "fracture", ModelVersionRow.id.desc())
    ).all()
    return [
        ModelAnswer(
            radiograph_id=radiograph_id,
            model=f"{model.name}/{model.version}",
            task=model.task,
            title=str(model.card.get("title") or model.name),
            card_sha256=model.sha256,
            card=model.card,
            active=model.active,
            status=job.status,
            attempts=job.attempts,
            deaths=job.deaths,
            worker=job.worker,
            created_at=job.created_at,
            started_at=job.started_at,
            finished_at=job.finished_at,
            error={"code": job.error_code, "words": job.error_words or ""} if job.error_code else None,
            prediction=None if prediction is None else _prediction(session, prediction),
        )
        for job, model, prediction in rows
    ]


def _prediction(session: Session, row: PredictionRow) -> Prediction:
    query = select(ScoreRow).where(ScoreRow.prediction_id == row.id)
    scores = session.scalars(query.order_by(ScoreRow.probability.desc(), ScoreRow.label))
    return Prediction(
        label=row.label,
        confidence=row.confidence,
        scores={score.label: score.probability for score in scores},
        prediction_set=tuple(row.prediction_set),
        flags=tuple(row.flags),
        engine=row.engine,
        waited_ms=row.waited_ms,
        decode_ms=row.decode_ms,
        infer_ms=row.infer_ms,
        activation=row.activation,
    )
