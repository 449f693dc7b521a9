"""The claim: everything about leases, tokens and attempts is read here; what follows a death, in `deaths`.

A claim takes waiting jobs in one statement and writes a lease, a token and `attempts + 1`, committed before the first
byte is decoded. Every later write says `WHERE lease_token = ...` and looks at the row count, so that a worker that was
paused or cut off and comes back late changes nothing. The database's clock judges leases.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    CursorResult,
    Integer,
    Select,
    Update,
    and_,
    bindparam,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.orm import Session

from core.answers import Answer
from core.database import append, now
from core.records.events import Event, record_events, tell_when_committed
from core.records.likenesses import record_fingerprints
from core.records.tallies import Tally, record_tally
from core.tables import JobRow, JobStatus, PredictionRow, RadiographRow, ScoreRow, table_of

#: Passing causes are tried again after 5, 10, 20, ... seconds, at most ten minutes apart, this many times.
MOST_ATTEMPTS, FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 10, 5.0, 600.0


@dataclass(frozen=True)
class ClaimedJob:
    """One job in hand."""

    id: int
    radiograph_id: int
    storage_key: str
    frame: int
    attempts: int  # this one included
    waited_ms: float  # since the job was created
    original_deleted_at: datetime | None = None  # there is nothing to look at any more


@dataclass(frozen=True)
class Claim:
    """Jobs of one model and one priority class, oldest first."""

    token: str
    model_version_id: int
    priority: int
    alone: bool  # the job is under suspicion and has no batch mates
    jobs: tuple[ClaimedJob, ...]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How one claimed job ended: exactly one of `answer`, `failure` and `passing` is given."""

    job: ClaimedJob
    answer: Answer | None = None
    failure: tuple[str, str] | None = None  # code and words: final
    passing: tuple[str, str] | None = None  # code and words: tried again later
    engine: str = ""
    decode_ms: float = 0.0
    infer_ms: float = 0.0
    fingerprint: int | None = None  # of the picture; see `core.likeness`


def claim_waiting(
    session: Session, *, model_version_ids: Sequence[int], limit: int, lease_seconds: float, worker: str
) -> Claim | None:
    """Take up to `limit` waiting jobs: one model, one priority class, highest priority first, then oldest.

    A job with an unexplained death behind it is taken alone.

    Returns:
        The claim, or None when nothing waits for these models.
    """
    if not model_version_ids:
        return None
    at = now(session)
    token = secrets.token_hex(16)
    chosen = {"models": list(model_version_ids), "most": limit, "at": at}
    written = {"token": token, "until": at + timedelta(seconds=lease_seconds), "worker": worker}
    session.execute(_taking(session.get_bind().dialect.name), chosen | written)
    rows = session.execute(_taken(), {"token": token}).all()
    if not rows:
        return None
    first = rows[0]
    jobs = tuple(
        ClaimedJob(
            id=job.id,
            radiograph_id=job.radiograph_id,
            storage_key=job.storage_key,
            frame=job.frame,
            attempts=job.attempts,
            waited_ms=max(0.0, (at - job.created_at).total_seconds() * 1000),
            original_deleted_at=job.original_deleted_at,
        )
        for job in rows
    )
    tell_when_committed(
        session,
        [Event(kind="started", actor=worker, radiograph_id=job.radiograph_id, job_id=job.id) for job in jobs],
    )
    return Claim(
        token=token, model_version_id=first.model_version_id, priority=first.priority, alone=first.alone, jobs=jobs
    )


@cache
def _taking(dialect: str) -> Update:
    """Return the statement of a claim, which asks for `models`, `most`, `at`, `token`, `until` and `worker`.

    This and what else runs for every batch is made once, of tables rather than of mapped classes: making such
    statements anew took more processor time than the database did.
    """
    jobs, mates = table_of(JobRow), table_of(JobRow).alias()
    at = bindparam("at", type_=JobRow.available_at.type)
    # Written out, not bound: only then do planners see that the partial index of waiting jobs serves.
    waiting = bindparam("waiting", JobStatus.WAITING, jobs.c.status.type, literal_execute=True)
    is_waiting: ColumnElement[Any] = jobs.c.status == waiting
    if dialect == "sqlite":
        # Its planner would rather sort all that waits: measured 17 ms a claim with 50,000 jobs, against 3 ms.
        is_waiting = func.likely(is_waiting)
    # Both parts lock what they choose and skip what others hold (PostgreSQL; SQLite has one writer anyway), and are
    # materialised, because a planner that runs them again inside the update would lock more rows than the limit.
    head = (
        select(jobs.c.id, jobs.c.model_version_id, jobs.c.priority, jobs.c.deaths)
        # Adding nought keeps out an index that begins with the model: what it finds would have to be sorted.
        .where(
            is_waiting,
            jobs.c.available_at <= at,
            (jobs.c.model_version_id + 0).in_(bindparam("models", expanding=True)),
        )
        .order_by(jobs.c.priority.desc(), jobs.c.id)
        .limit(1)
        .with_for_update(skip_locked=True)
        .cte("head")
        .prefix_with("MATERIALIZED")
    )
    chosen = (
        select(mates.c.id)
        # Subqueries rather than a join: as constants they let the index give the oldest first and stop at the limit.
        .where(
            mates.c.status == waiting,
            mates.c.available_at <= at,
            mates.c.model_version_id == select(head.c.model_version_id).scalar_subquery(),
            mates.c.priority == select(head.c.priority).scalar_subquery(),
            or_(
                mates.c.id == select(head.c.id).scalar_subquery(),
                and_(select(head.c.deaths).scalar_subquery() == 0, mates.c.deaths == 0),
            ),
        )
        .order_by(mates.c.id)
        .limit(bindparam("most", type_=Integer))
        .with_for_update(skip_locked=True, of=mates)
        .cte("chosen")
        .prefix_with("MATERIALIZED")
    )
    return (
        update(jobs)
        .where(jobs.c.id.in_(select(chosen.c.id)))
        .values(
            status=JobStatus.RUNNING,
            attempts=jobs.c.attempts + 1,
            alone=jobs.c.deaths > 0,
            lease_token=bindparam("token"),
            lease_until=bindparam("until"),
            worker=bindparam("worker"),
            started_at=at,
        )
    )


@cache
def _taken() -> Select[Any]:
    """Return the query for what a claim holds, which asks for its `token`."""
    jobs, radiographs = table_of(JobRow), table_of(RadiographRow)
    return (
        select(
            jobs.c.id,
            jobs.c.radiograph_id,
            jobs.c.model_version_id,
            jobs.c.priority,
            jobs.c.alone,
            jobs.c.attempts,
            jobs.c.created_at,
            radiographs.c.storage_key,
            radiographs.c.frame,
            radiographs.c.original_deleted_at,
        )
        .join_from(jobs, radiographs, radiographs.c.id == jobs.c.radiograph_id)
        .where(jobs.c.lease_token == bindparam("token"), jobs.c.status == JobStatus.RUNNING)
        .order_by(jobs.c.id)
    )


@cache
def _releasing() -> Any:
    """Return the statement that ends answered jobs, which asks for `ended`, `token` and `at`."""
    jobs = table_of(JobRow)
    return (
        update(jobs)
        .where(
            jobs.c.id.in_(bindparam("ended", expanding=True)),
            jobs.c.lease_token == bindparam("token"),
            jobs.c.status == JobStatus.RUNNING,
        )
        .values(
            status=JobStatus.DONE,
            finished_at=bindparam("at"),
            error_code=None,
            error_words=None,
            lease_token=None,
            lease_until=None,
        )
        .returning(jobs.c.id)
    )


@cache
def _predicting() -> Any:
    """Return the statement that inserts predictions and says their ids, in their order."""
    predictions = table_of(PredictionRow)
    return insert(predictions).returning(predictions.c.id, sort_by_parameter_order=True)


def renew(session: Session, token: str, lease_seconds: float) -> int:
    """Lengthen a claim's lease; return how many of its jobs are still held by it."""
    until = now(session) + timedelta(seconds=lease_seconds)
    return _count(session, update(JobRow).where(_held(token)).values(lease_until=until))


def store_outcomes(
    session: Session,
    claim: Claim,
    outcomes: Sequence[Outcome],
    worker: str,
    *,
    stored_before: float | None = None,
) -> list[Outcome]:
    """Write answers, statuses and the release of the leases, in this one transaction.

    Args:
        session: A transaction that may write.
        claim: What was claimed.
        outcomes: How its jobs ended.
        worker: Who worked.
        stored_before: Seconds that storing the batch before took, if it is known: of this one nobody knows yet.

    Returns:
        The outcomes that counted. One whose lease was lost meanwhile is left out: somebody else has the job.
    """
    at = now(session)
    answered = _release_answered(session, claim.token, [outcome.job.id for outcome in outcomes if outcome.answer], at)
    counted = [
        outcome
        for outcome in outcomes
        if (outcome.job.id in answered if outcome.answer else _release_failed(session, claim.token, outcome, at))
    ]
    events = []
    for outcome in counted:
        job, problem = outcome.job, outcome.failure or outcome.passing
        kind = "done" if outcome.answer else "failed" if outcome.failure or _is_last(job) else "postponed"
        detail: dict[str, Any] = {"attempt": job.attempts}
        if problem:
            detail |= {"code": problem[0], "words": problem[1]}
        events.append(Event(kind=kind, actor=worker, radiograph_id=job.radiograph_id, job_id=job.id, detail=detail))
    _record_predictions(session, claim, [outcome for outcome in counted if outcome.answer], at)
    marks = {each.job.radiograph_id: each.fingerprint for each in counted if each.fingerprint is not None}
    record_fingerprints(session, marks)
    tally = _tally(counted, stored_before)
    if tally.answers or tally.spreads:
        record_tally(session, claim.model_version_id, tally, at)
    record_events(session, at, events)
    return counted


def give_back(session: Session, token: str) -> int:
    """Return a claim's jobs as if they had never been taken (a polite stop); return how many."""
    return _count(
        session,
        update(JobRow)
        .where(_held(token))
        .values(
            status=JobStatus.WAITING, attempts=JobRow.attempts - 1, lease_token=None, lease_until=None, rung_at=None
        ),
    )


def pause_seconds(times: int) -> float:
    """Return how long work waits after so many vain tries (at least one)."""
    return float(min(FIRST_PAUSE_SECONDS * 2 ** min(times - 1, 60), LONGEST_PAUSE_SECONDS))


def _held(token: str) -> Any:
    return and_(JobRow.lease_token == token, JobRow.status == JobStatus.RUNNING)


def _count(session: Session, statement: Any) -> int:
    result = session.execute(statement.execution_options(synchronize_session=False))
    assert isinstance(result, CursorResult)  # noqa: S101 - tells the type checker; an UPDATE has no other result
    return result.rowcount


def _is_last(job: ClaimedJob) -> bool:
    return job.attempts >= MOST_ATTEMPTS


def _release_answered(session: Session, token: str, job_ids: Sequence[int], at: datetime) -> set[int]:
    """End the answered jobs that this claim still holds, in one statement; return which they were."""
    if not job_ids:
        return set()
    return set(session.scalars(_releasing(), {"ended": list(job_ids), "token": token, "at": at}))


def _release_failed(session: Session, token: str, outcome: Outcome, at: datetime) -> bool:
    """End or postpone one job without an answer if this claim still holds it."""
    job = outcome.job
    code, words = outcome.failure or outcome.passing or ("error", "")
    values: dict[str, Any] = {"lease_token": None, "lease_until": None, "error_code": code, "error_words": words}
    if outcome.failure or _is_last(job):
        values |= {"status": JobStatus.FAILED, "finished_at": at}
    else:
        available_at = at + timedelta(seconds=pause_seconds(job.attempts))
        values |= {"status": JobStatus.WAITING, "available_at": available_at, "rung_at": None}
    return _count(session, update(JobRow).where(JobRow.id == job.id, _held(token)).values(**values)) == 1


def _tally(outcomes: Sequence[Outcome], stored_before: float | None) -> Tally:
    tally = Tally()
    for outcome in outcomes:
        if outcome.answer:
            tally.note_answer(outcome.answer)
            tally.note_time("waited", outcome.job.waited_ms / 1000)
            tally.note_time("decode", outcome.decode_ms / 1000)
            tally.note_time("infer", outcome.infer_ms / 1000)
    if stored_before is not None:
        tally.note_time("store", stored_before)
    return tally


def _record_predictions(session: Session, claim: Claim, outcomes: Sequence[Outcome], at: datetime) -> None:
    pairs = [(outcome, outcome.answer) for outcome in outcomes if outcome.answer]
    if not pairs:
        return
    rows = [
        {
            "radiograph_id": outcome.job.radiograph_id,
            "model_version_id": claim.model_version_id,
            "label": answer.label,
            "confidence": answer.confidence,
            "prediction_set": list(answer.prediction_set),
            "flags": list(answer.flags),
            "engine": outcome.engine,
            "waited_ms": outcome.job.waited_ms,
            "decode_ms": outcome.decode_ms,
            "infer_ms": outcome.infer_ms,
            "activation": answer.activation,
            "created_at": at,
        }
        for outcome, answer in pairs
    ]
    ids = session.scalars(_predicting(), rows).all()
    scores = [
        {"prediction_id": number, "label": label, "probability": probability}
        for number, (_, answer) in zip(ids, pairs, strict=True)
        for label, probability in answer.scores.items()
    ]
    append(session, ScoreRow, scores)
