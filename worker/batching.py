"""From waiting jobs to stored answers: claim, decode, classify, store; batch after batch until nothing waits.

A bad image leaves its batch alone; a network that fails on a batch is asked image by image, so that only the culprit
fails. Plain functions: the Celery task calls them, and so do the tests.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from core.answers import Answer, answers, with_words
from core.bundle import ModelCard
from core.engines.protocol import Classifier
from core.errors import (
    ConfigurationError,
    ModelError,
    OriginalAltered,
    OriginalDeleted,
    RejectedImage,
    TooMuchMemory,
    Unavailable,
)
from core.likeness import fingerprint
from core.preprocessing import read_radiograph
from core.records.claims import Claim, ClaimedJob, Outcome, claim_waiting, give_back, store_outcomes
from core.records.controls import worker_is_paused
from worker.context import WorkerContext
from worker.memory import limited_memory
from worker.pulse import Pulse

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Ready:
    """A job whose picture was read."""

    job: ClaimedJob
    picture: NDArray[np.uint8]  # the network's input
    words: tuple[str, ...]  # why an answer means nothing
    fingerprint: int
    decode_ms: float  # reading and decoding


@dataclass(frozen=True)
class Worked:
    """What one round of work did."""

    jobs: int  # stored or failed
    emptied: bool  # nothing waited any more; False: time was up or a stop was asked for


def work_off(context: WorkerContext, pulse: Pulse) -> Worked:
    """Claim and process batches until nothing waits, `drain_seconds` are over, or a stop or a pause is asked for.

    Raises:
        Unavailable: The database went away. What was claimed comes back when its lease runs out.
        ModelError: A bundle is unusable; its jobs wait for a worker that can run it.
        ConfigurationError: The engine is not installed here; likewise.
    """
    until, jobs = time.monotonic() + context.settings.drain_seconds, 0
    if context.stopping:
        return Worked(jobs=0, emptied=False)
    models = context.installed()
    with context.database.transaction() as session:
        claim = _claim(context, session, models)
    while claim is not None:
        with pulse.holding(claim), context.notes.holding(claim.token):
            try:
                outcomes = process_claim(context, claim)
            except (ModelError, ConfigurationError):
                with context.database.transaction() as session:
                    give_back(session, claim.token)
                raise
            context.notes.at("storing")
            goes_on = not context.stopping and time.monotonic() < until
            began = time.perf_counter()
            # One transaction stores this batch and claims the next: half the commits, and each waits for the disk.
            with context.database.transaction() as session:
                counted = store_outcomes(
                    session, claim, outcomes, str(context.identity), stored_before=context.stored_before
                )
                claim = _claim(context, session, models) if goes_on else None
            context.stored_before = time.perf_counter() - began
        if len(counted) < len(outcomes):
            log.warning("The lease of %d jobs had run out; their answers were dropped.", len(outcomes) - len(counted))
        jobs += len(counted)
        if not goes_on:
            return Worked(jobs=jobs, emptied=False)
    return Worked(jobs=jobs, emptied=True)


def _claim(context: WorkerContext, session: Session, models: Sequence[int]) -> Claim | None:
    if worker_is_paused(session, context.identity.host):
        return None
    return claim_waiting(
        session,
        model_version_ids=models,
        limit=context.settings.batch_size,
        lease_seconds=context.settings.lease_seconds,
        worker=str(context.identity),
    )


def process_claim(context: WorkerContext, claim: Claim) -> list[Outcome]:
    """Decode and classify a claim's radiographs.

    Returns:
        One outcome a job, in no particular order.

    Raises:
        ModelError: The bundle is unusable.
        ConfigurationError: The engine is not installed here.
    """
    classifier = context.classifier(claim.model_version_id)
    # Decoding alone: what a network takes does not depend on the picture, and its threads may start at its first run.
    with limited_memory(context.settings.memory_limit_mib):
        outcomes, ready = _decode(context, claim, classifier.card)
    if ready:
        context.notes.at("inferring")
        started = time.perf_counter()
        results = classify(classifier, np.stack([each.picture for each in ready]))
        infer_ms = (time.perf_counter() - started) * 1000 / len(ready)
        for each, result in zip(ready, results, strict=True):
            outcomes.append(_outcome(each, result, classifier.engine, infer_ms))
    return outcomes


def _decode(context: WorkerContext, claim: Claim, card: ModelCard) -> tuple[list[Outcome], list[_Ready]]:
    """Return the outcomes of the jobs that end here, and the network's inputs of the others."""
    outcomes: list[Outcome] = []
    ready: list[_Ready] = []
    for job in claim.jobs:
        started = time.perf_counter()
        try:
            if job.original_deleted_at is not None:
                raise OriginalDeleted.of(job.radiograph_id, job.original_deleted_at)
            context.notes.at("reading", job.id)
            data = context.store.get(job.storage_key)
            context.notes.at("decoding", job.id)
            reading = read_radiograph(
                data,
                side=card.side,
                channels=card.channels,
                max_pixels=context.settings.max_pixels,
                frame=job.frame,
            )
            mark = fingerprint(reading.pixels)
        except MemoryError:
            outcomes.append(Outcome(job=job, failure=(TooMuchMemory.code, str(TooMuchMemory()))))
        except (OriginalAltered, OriginalDeleted, RejectedImage) as problem:
            outcomes.append(Outcome(job=job, failure=(problem.code, str(problem))))
        except Unavailable as problem:
            outcomes.append(Outcome(job=job, passing=(problem.code, str(problem))))
        else:
            spent = (time.perf_counter() - started) * 1000
            ready.append(_Ready(job, reading.model_input, reading.words, mark, spent))
    return outcomes, ready


def classify(classifier: Classifier, batch: NDArray[np.uint8]) -> Sequence[Answer | str]:
    """Run a batch; where that fails, each image alone.

    Args:
        classifier: The loaded network.
        batch: (N, side, side, channels) uint8.

    Returns:
        For each image its answer, or a sentence that says what the network did.
    """
    try:
        results = answers(classifier.run(batch), classifier.card)
        if len(results) != len(batch):
            raise ValueError(f"{len(results)} answers for {len(batch)} images")
    # An engine can raise anything; which image made it do so is found by asking again, one by one.
    except Exception as error:
        if len(batch) > 1:
            return [result for index in range(len(batch)) for result in classify(classifier, batch[index : index + 1])]
        log.exception("The network failed on one image.")
        return [f"The network failed on this image: {type(error).__name__}: {error}."]
    return [result or "The network's answer is not a set of probabilities." for result in results]


def _outcome(ready: _Ready, result: Answer | str, engine: str, infer_ms: float) -> Outcome:
    if isinstance(result, str):
        return Outcome(job=ready.job, failure=("model-error", result))
    return Outcome(
        job=ready.job,
        answer=with_words(result, ready.words),
        engine=engine,
        decode_ms=ready.decode_ms,
        infer_ms=infer_ms,
        fingerprint=ready.fingerprint,
    )
