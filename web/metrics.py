"""`/metrics` for Prometheus: everything is read from SQL, so it is the same whichever process is asked.

Counters and histograms grow for as long as the database lives; no restart of a process sets them back. No label holds a
name of a file, a person or a submission.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from typing import Any

from flask import Response
from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector
from sqlalchemy.orm import Session

from core.records.figures import QueueFigures
from core.records.intake import rejections_by_code
from core.records.models import ModelVersion, list_models
from core.records.tallies import BEYOND, BOUNDS, Spread, Tally, totals
from core.records.workers import living
from core.states import WorkerState
from web.openapi import Blueprint
from web.parts import Parts, parts

blueprint = Blueprint("metrics", __name__)

#: A process that missed so many heartbeats says nothing any more.
_MISSED_BEATS = 3
#: How long the first look at the broker may take.
_BROKER_SECONDS = 1.0
_HISTOGRAMS = {
    "waited": ("fracture_wait_seconds", "From a job's creation to the start of the attempt that answered it."),
    "decode": ("fracture_decode_seconds", "Reading, decoding and resizing of one radiograph."),
    "infer": ("fracture_infer_seconds", "One radiograph's share of its batch's time in the network."),
    "store": ("fracture_store_seconds", "Storing the answers of one batch."),
}


@blueprint.get("/metrics", tags=["Health"])
@blueprint.response(200, {"type": "string"}, content_type="text/plain")
def get_metrics() -> Response:
    """Return counts, ages and times in Prometheus' text format.

    503 while the database is away.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Installation(parts()))
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


class _Installation(Collector):
    """What is known at the moment of one request."""

    def __init__(self, of: Parts) -> None:
        self._parts = of

    def describe(self) -> Iterator[Any]:
        """Name nothing beforehand: a description would cost the queries twice."""
        return iter(())

    def collect(self) -> Iterator[Any]:
        """Yield every metric.

        Raises:
            DatabaseUnavailable: Nothing is known without the database; the answer is then a 503.
        """
        yield from self._disk()
        figures = self._parts.overview.figures(wait_seconds=_BROKER_SECONDS)
        with self._parts.database.reading() as session:
            found = [*_queue(figures), *_doors(session, self._parts), *_answers(session)]
        yield from found

    def _disk(self) -> Iterator[Any]:
        free = GaugeMetricFamily("fracture_disk_free_bytes", "Space left for each kind of data.", labels=["place"])
        settings = self._parts.settings
        for place, folder in (("home", settings.home), ("inbox", settings.inbox), ("store", settings.store_path)):
            if folder is not None and folder.exists():
                free.add_metric([place], shutil.disk_usage(folder).free)
        yield free


def _queue(figures: QueueFigures) -> Iterator[Any]:
    jobs = GaugeMetricFamily("fracture_jobs", "Jobs by state.", labels=["state"])
    for status, count in figures.counts.items():
        jobs.add_metric([status.value], count)
    failures = GaugeMetricFamily(
        "fracture_failures", "Jobs that stand as failed or quarantined, by reason.", labels=["code"]
    )
    for cause in figures.causes:
        failures.add_metric([cause.code], cause.failed)
    workers = GaugeMetricFamily("fracture_workers", "Processes that classify, by state.", labels=["state"])
    states = Counter(worker.state for worker in figures.workers)
    for state in WorkerState:
        workers.add_metric([state.value], states[state])
    bells = GaugeMetricFamily("fracture_bells", "Messages that nobody has taken; absent: the broker is away.")
    if figures.broker.announced is not None:
        bells.add_metric([], figures.broker.announced)
    yield from (jobs, failures, workers, bells)
    yield GaugeMetricFamily(
        "fracture_oldest_waiting_seconds",
        "Age of the job that waits longest; 0: none waits.",
        value=figures.oldest_waiting_seconds or 0.0,
    )
    yield GaugeMetricFamily(
        "fracture_images_per_second", "Answers a second, over the last minute.", value=figures.images_per_second
    )


def _doors(session: Session, of: Parts) -> Iterator[Any]:
    rejected = CounterMetricFamily("fracture_rejected", "Files refused at the door, by reason.", labels=["code"])
    for code, count in rejections_by_code(session).items():
        rejected.add_metric([code], count)
    backlog = GaugeMetricFamily(
        "fracture_inbox_files", "Files in the inbox that are not recorded yet; absent: nobody watches."
    )
    watching = living(session, role="inbox", within_seconds=_MISSED_BEATS * of.settings.heartbeat_seconds)
    if watching:
        backlog.add_metric([], sum(row.holds for row in watching))
    yield from (rejected, backlog)


def _answers(session: Session) -> Iterator[Any]:
    models = list_models(session)
    by_id = totals(session)
    info = InfoMetricFamily("fracture_model", "Installed or once installed models.", labels=["model"])
    active = GaugeMetricFamily("fracture_model_active", "1: new radiographs are classified by it.", labels=["model"])
    answers = CounterMetricFamily("fracture_predictions", "Stored answers.", labels=["model", "label"])
    confidence = CounterMetricFamily("fracture_confidence", "Sum of their confidences.", labels=["model"])
    flags = CounterMetricFamily("fracture_flags", "Stored answers with a flag.", labels=["model", "flag"])
    for model in models:
        info.add_metric([model.full_name], {"sha256": model.sha256, "task": model.task})
        active.add_metric([model.full_name], float(model.active))
        tally = by_id.get(model.id, Tally())
        for label, count in tally.labels.items():
            answers.add_metric([model.full_name, label], count)
        for flag, count in tally.flags.items():
            flags.add_metric([model.full_name, flag], count)
        confidence.add_metric([model.full_name], tally.confidence)
    yield from (info, active, answers, confidence, flags)
    yield from _histograms(models, by_id)


def _histograms(models: list[ModelVersion], by_id: dict[int, Tally]) -> Iterator[Any]:
    for kind, (name, words) in _HISTOGRAMS.items():
        histogram = HistogramMetricFamily(name, words, labels=["model"])
        for model in models:
            spread = by_id.get(model.id, Tally()).spreads.get(kind)
            if spread:
                histogram.add_metric([model.full_name], _cumulative(kind, spread), spread.seconds)
        yield histogram


def _cumulative(kind: str, spread: Spread) -> list[tuple[str, float]]:
    """Return buckets as Prometheus wants them: each holds those below it too."""
    below, buckets = 0, []
    for bound in (*(f"{bound:g}" for bound in BOUNDS[kind]), BEYOND):
        below += spread.buckets[bound]
        buckets.append((bound, float(below)))
    return buckets
