"""Stored answers, one object per radiograph: what the pages, the API and the command line list."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, Select, Text, cast, exists, select
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from core.errors import NotFound
from core.records.candidates import Mark, candidates, candidates_by_confidence, in_submission
from core.records.filters import Filters
from core.records.fractures import Fracture, fractures_of
from core.records.names import has_name
from core.tables import (
    ENDED,
    FIRST,
    ArrivalRadiographRow,
    ArrivalRow,
    JobRow,
    JobStatus,
    ModelVersionRow,
    PredictionRow,
    RadiographRow,
    ReadingRow,
    ReviewKind,
    ScoreRow,
    Source,
)

#: Rows fetched at once when a list is long.
_PAGE = 500
#: Made once: a new alias costs nearly half a millisecond.
_NEWEST, _VERSION = aliased(JobRow), aliased(ModelVersionRow)
_MAIN_TASK = "fracture-type"

#: The last four are None where the model has not been asked or has not answered.
_ResultRow: TypeAlias = tuple[RadiographRow, JobRow | None, PredictionRow | None, str, str]
_ResultQuery: TypeAlias = Select[RadiographRow, JobRow, PredictionRow, str, str]


@dataclass(frozen=True, kw_only=True)
class Result:
    """One radiograph and the newest answer of the model asked for."""

    id: int  # of the radiograph
    sha256: str
    frame: int
    name: str
    source: Source
    status: JobStatus | None  # None: this model has never been asked
    label: str | None
    confidence: float | None
    scores: dict[str, float]
    prediction_set: list[str]
    flags: list[str]
    model: str | None  # NAME/VERSION
    received_at: datetime
    finished_at: datetime | None
    error: dict[str, str] | None  # code and words
    original_deleted: bool  # by `retention`: the picture is gone
    patient_key: str | None  # of DICOM: a keyed hash, the same for all files of a patient
    unfinished: bool  # some model, this one or another, still has to answer or fail
    fracture: Fracture | None  # what the binary model says of it, whichever model was asked for; None: nothing yet

    @property
    def kind_is_secondary(self) -> bool:
        """Whether the answer names a kind of fracture although the binary model suspects none."""
        return self.fracture is not None and not self.fracture.suspected and self.model != self.fracture.model

    def document(self) -> dict[str, Any]:
        """Return it as JSON types; the keys are a contract."""
        return {
            **vars(self),
            "source": self.source.value,
            "status": None if self.status is None else self.status.value,
            "received_at": self.received_at.isoformat(),
            "finished_at": None if self.finished_at is None else self.finished_at.isoformat(),
            "fracture": None if self.fracture is None else self.fracture.document(),
        }


def list_by_confidence(
    session: Session, filters: Filters, *, limit: int, doubt: bool = True, after: Mark | None = None
) -> list[Result]:
    """Return one page of answered radiographs, the least sure first, or the surest.

    Args:
        session: An open transaction.
        filters: What is wanted.
        limit: Most results.
        doubt: The least sure first.
        after: The last result of the page before.
    """
    model_ids = _model_ids(session, filters.model)
    query = _query(filters, model_ids)
    rows: list[_ResultRow] = []
    for marks in candidates_by_confidence(session, filters, model_ids, size=limit, doubt=doubt, after=after):
        found = session.execute(query.where(RadiographRow.id.in_([mark.radiograph_id for mark in marks]))).all()
        # An older version's answer is a candidate too; only the one that is shown counts.
        shown = {Mark(row[2].confidence, row[0].id): row for row in found if row[2] is not None}
        rows += [shown[mark] for mark in marks if mark in shown]
        if len(rows) >= limit:
            break
    return _results(session, rows[:limit])


def list_results(session: Session, filters: Filters, *, limit: int, before_id: int | None = None) -> list[Result]:
    """Return one page, newest radiograph first.

    Args:
        session: An open transaction.
        filters: What is wanted.
        limit: Most results.
        before_id: Only radiographs with a smaller id: the last id of the page before (keyset pages).
    """
    model_ids = _model_ids(session, filters.model)
    query = _query(filters, model_ids).order_by(RadiographRow.id.desc())
    rows: list[_ResultRow] = []
    for ids in candidates(session, filters, model_ids, size=limit, before_id=before_id):
        rows += session.execute(query.where(RadiographRow.id.in_(ids)).limit(limit - len(rows))).all()
        if len(rows) == limit:
            break
    return _results(session, rows)


def iterate_results(session: Session, filters: Filters, *, limit: int | None = None) -> Iterator[Result]:
    """Yield results, newest first, a page of rows in memory at a time."""
    before_id, left = None, limit
    while left is None or left > 0:
        size = _PAGE if left is None else min(_PAGE, left)
        page = list_results(session, filters, limit=size, before_id=before_id)
        yield from page
        if len(page) < size:
            return
        before_id, left = page[-1].id, None if left is None else left - size


def get_result(session: Session, radiograph_id: int, *, model: str | None = None) -> Result:
    """Return one radiograph's result.

    Raises:
        NotFound: There is no such radiograph, or no such model.
    """
    query = _query(Filters(model=model), _model_ids(session, model)).where(RadiographRow.id == radiograph_id)
    found = _results(session, session.execute(query).all())
    if not found:
        raise NotFound(f"There is no radiograph {radiograph_id}.")
    return found[0]


def results_of(session: Session, radiograph_ids: Sequence[int], *, model: str | None = None) -> dict[int, Result]:
    """Return the results of some radiographs by their ids; those that do not exist are left out.

    Raises:
        NotFound: There is no such model.
    """
    query = _query(Filters(model=model), _model_ids(session, model))
    found: dict[int, Result] = {}
    for start in range(0, len(radiograph_ids), _PAGE):
        wanted = query.where(RadiographRow.id.in_(radiograph_ids[start : start + _PAGE]))
        found |= {result.id: result for result in _results(session, session.execute(wanted).all())}
    return found


def results_of_contents(session: Session, digests: Sequence[str], *, model: str) -> dict[str, Result]:
    """Return one model's results of some contents (of a file with several pages the first), by their sha256.

    Raises:
        NotFound: There is no such model.
    """
    wanted = RadiographRow.sha256.in_(digests)
    ids = session.scalars(select(RadiographRow.id).where(wanted, RadiographRow.frame == 0)).all()
    return {result.sha256: result for result in results_of(session, ids, model=model).values()}


def all_results_of(session: Session, radiograph_id: int) -> list[Result]:
    """Return the results of every model version that was asked about one radiograph, by model.

    Raises:
        NotFound: There is no such radiograph.
    """
    versions = session.execute(
        select(ModelVersionRow.name, ModelVersionRow.version)
        .join(JobRow, JobRow.model_version_id == ModelVersionRow.id)
        .where(JobRow.radiograph_id == radiograph_id)
        .order_by(ModelVersionRow.name, ModelVersionRow.id)
    ).all()
    if not versions:
        return [get_result(session, radiograph_id)]
    return [get_result(session, radiograph_id, model=f"{name}/{version}") for name, version in versions]


def get_radiograph(session: Session, radiograph_id: int) -> RadiographRow:
    """Return one radiograph's row.

    Raises:
        NotFound: There is none.
    """
    row = session.get(RadiographRow, radiograph_id)
    if row is None:
        raise NotFound(f"There is no radiograph {radiograph_id}.")
    return row


def arrivals_of(session: Session, radiograph_id: int) -> list[ArrivalRow]:
    """Return each time that this radiograph came in, oldest first."""
    return list(
        session.scalars(
            select(ArrivalRow)
            .join(ArrivalRadiographRow, ArrivalRadiographRow.arrival_id == ArrivalRow.id)
            .where(ArrivalRadiographRow.radiograph_id == radiograph_id)
            .order_by(ArrivalRow.id)
        )
    )


def _model_ids(session: Session, model: str | None) -> list[int]:
    """Return the versions whose newest job counts: those of the model asked for, else of the ten-class task.

    Where only a model of the other task is active, that task's.
    """
    row = ModelVersionRow
    versions = session.execute(select(row.id, row.name, row.version, row.task, row.active)).all()
    if model is None:
        active = {v.task for v in versions if v.active}
        task = _MAIN_TASK if _MAIN_TASK in active or not active else min(active)
        return [v.id for v in versions if v.task == task]
    name, _, version = model.partition("/")
    chosen = [v.id for v in versions if v.name == name and version in ("", v.version)]
    if not chosen:
        known = ", ".join(sorted(f"{v.name}/{v.version}" for v in versions)) or "none"
        raise NotFound(f"There is no model {model!r}; known: {known}.")
    return chosen


def labels_of(session: Session, model: str | None) -> list[str]:
    """Return the labels of the model asked for, in alphabetical order.

    Raises:
        NotFound: There is no such model.
    """
    query = select(ModelVersionRow.card).where(ModelVersionRow.id.in_(_model_ids(session, model)))
    return sorted({str(label) for card in session.scalars(query) for label in card.get("labels", ())})


def _query(filters: Filters, model_ids: Sequence[int]) -> _ResultQuery:
    # An active version's job before any other: somebody may have asked an older one again since.
    newest_job = (
        select(_NEWEST.id)
        .join(_VERSION, _VERSION.id == _NEWEST.model_version_id)
        .where(_NEWEST.radiograph_id == RadiographRow.id, _NEWEST.model_version_id.in_(model_ids))
        .order_by(_VERSION.active.desc(), _NEWEST.id.desc())
        .limit(1)
        .correlate(RadiographRow)
        .scalar_subquery()
    )
    query: _ResultQuery = (
        select(RadiographRow, JobRow, PredictionRow, ModelVersionRow.name, ModelVersionRow.version)
        .select_from(RadiographRow)
        .outerjoin(JobRow, JobRow.id == newest_job)
        .outerjoin(ModelVersionRow, ModelVersionRow.id == JobRow.model_version_id)
        .outerjoin(
            PredictionRow,
            (PredictionRow.radiograph_id == RadiographRow.id)
            & (PredictionRow.model_version_id == JobRow.model_version_id),
        )
    )
    conditions: dict[str, Callable[[Any], ColumnElement[bool]]] = {
        "label": lambda value: PredictionRow.label == value,
        "min_confidence": lambda value: PredictionRow.confidence >= value,
        "max_confidence": lambda value: PredictionRow.confidence <= value,
        "status": lambda value: JobRow.status == value,
        "source": lambda value: RadiographRow.source == value,
        "since": lambda value: RadiographRow.received_at >= value,
        "until": lambda value: RadiographRow.received_at < value,
        "name": has_name,
        "sha256": lambda value: RadiographRow.sha256 == value,
        "submission": lambda value: RadiographRow.id.in_(in_submission(value)),
        "flag": lambda value: _holds(PredictionRow.flags, value),
        "in_set": lambda value: _holds(PredictionRow.prediction_set, value),
        "reviewed": lambda value: (
            _read(ReadingRow.kind != ReviewKind.WITHDRAWN) if value else ~_read(ReadingRow.kind != ReviewKind.WITHDRAWN)
        ),
        "agreed": lambda value: _read(ReadingRow.agreed == value),
    }
    for field, condition in conditions.items():
        value = getattr(filters, field)
        if value is not None:
            query = query.where(condition(value))
    return query


def _holds(words: ColumnElement[Any] | InstrumentedAttribute[list[str]], word: str) -> ColumnElement[bool]:
    """Whether a list that is stored as JSON holds a word."""
    return cast(words, Text).contains(json.dumps(word), autoescape=True)


def _read(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """Whether a radiograph has a first reading of some kind."""
    return exists().where(ReadingRow.radiograph_id == RadiographRow.id, ReadingRow.reading == FIRST, condition)


def _results(session: Session, rows: Sequence[_ResultRow]) -> list[Result]:
    scores: dict[int, dict[str, float]] = {}
    ids = [prediction.id for _, _, prediction, _, _ in rows if prediction]
    for start in range(0, len(ids), _PAGE):
        wanted = select(ScoreRow).where(ScoreRow.prediction_id.in_(ids[start : start + _PAGE]))
        for score in session.scalars(wanted.order_by(ScoreRow.probability.desc(), ScoreRow.label)):
            scores.setdefault(score.prediction_id, {})[score.label] = score.probability
    unfinished = _unfinished(session, [radiograph.id for radiograph, *_ in rows])
    fractures = fractures_of(session, [radiograph.id for radiograph, *_ in rows])
    return [
        Result(
            id=radiograph.id,
            sha256=radiograph.sha256,
            frame=radiograph.frame,
            name=radiograph.name,
            source=radiograph.source,
            status=job.status if job else None,
            label=prediction.label if prediction else None,
            confidence=prediction.confidence if prediction else None,
            scores=scores.get(prediction.id, {}) if prediction else {},
            prediction_set=prediction.prediction_set if prediction else [],
            flags=prediction.flags if prediction else [],
            model=f"{name}/{version}" if job else None,
            received_at=radiograph.received_at,
            finished_at=job.finished_at if job else None,
            error={"code": job.error_code, "words": job.error_words or ""} if job and job.error_code else None,
            original_deleted=radiograph.original_deleted_at is not None,
            patient_key=radiograph.patient_key,
            unfinished=radiograph.id in unfinished,
            fracture=fractures.get(radiograph.id),
        )
        for radiograph, job, prediction, name, version in rows
    ]


def _unfinished(session: Session, radiograph_ids: Sequence[int]) -> set[int]:
    found: set[int] = set()
    for start in range(0, len(radiograph_ids), _PAGE):
        wanted = JobRow.radiograph_id.in_(radiograph_ids[start : start + _PAGE])
        found |= set(session.scalars(select(JobRow.radiograph_id).where(wanted, JobRow.status.not_in(ENDED))))
    return found
