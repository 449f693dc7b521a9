"""What the API says of the queue, and of changes to it."""

from __future__ import annotations

from typing import Any

from marshmallow import fields, pre_dump

from core.records.figures import QueueFigures
from core.states import WorkerState
from web.schemas.shapes import Answer, moment, number, text, truth, whole


def _state() -> fields.Enum[Any]:
    words = "busy, idle, wedged (there, and gets nothing done), dead, or unknown (silent, and nobody can tell why)."
    return fields.Enum(WorkerState, by_value=True, required=True, metadata={"description": words})


class Worker(Answer):
    """A process that classifies and has not signed off."""

    name = text("role@host:process.")
    host = text("Its machine.")
    engine = text("What runs its networks; empty before its first job.")
    model = text("NAME/VERSION of the network that it used last.", allow_none=True)
    holds = whole("Jobs in hand.")
    held_since = moment("Since when.", allow_none=True)
    held_seconds = number("For how long, by the database's clock.", allow_none=True)
    seen_seconds_ago = number("How long ago it was heard of.")
    memory_bytes = whole("Its memory.")
    main = text("The main process that hands it work.", allow_none=True)
    state = _state()
    words = text("Why, where that is not plain; else empty.")
    paused = truth("Whether it takes no more work.")


class MainProcess(Answer):
    """A worker's main process, which takes bells from the broker and starts the processes that classify."""

    name = text("main@host:process.")
    host = text("Its machine.")
    seen_seconds_ago = number("How long ago it was heard of.")
    memory_bytes = whole("Its memory.")
    connected = truth("To the broker, when last heard of.")
    prefetched = whole("Bells that it took and nobody has begun.")
    state = _state()
    words = text("Why, where that is not plain; else empty.")
    paused = truth("Whether its processes take no more work.")


class Spread(Answer):
    """Seconds that half of the jobs stayed below, and 95 of a hundred."""

    p50 = number("Half.")
    p95 = number("95 of a hundred.")


class Rates(Answer):
    """Answers a second; an image has one of each active model."""

    minute = number("Over the last minute.")
    five_minutes = number("Over the last five.")
    hour = number("Over the last hour.")


class Broker(Answer):
    """What the broker holds. A bell says that there is work; one may stand for many jobs."""

    answers = fields.Boolean(required=True, allow_none=True, metadata={"description": "Null: nobody has looked yet."})
    announced = whole("Bells that nobody has taken.", allow_none=True)
    prefetched = whole("Bells taken that nobody has begun.")
    unacknowledged = whole("Bells that would be given again; null where the broker does not say.", allow_none=True)
    agrees = truth("Whether this fits what the database says.")
    words = text("The difference, or that there is none.")


class Paused(Answer):
    """A pause in force."""

    target = text("intake or workers.")
    host = text("Of workers: only those of this machine; null: all.", allow_none=True)
    since = moment("Since when.")
    by = text("Who paused it.", attribute="actor")
    words = fields.Function(
        lambda found: found.words(), required=True, metadata={"type": "string", "description": "A sentence."}
    )


class Failures(Answer):
    """Jobs in trouble for one cause."""

    code = text("The cause, for programs.")
    count = whole("All of them; each status is counted up to 10,000.")
    failed = whole("Those that ended.")
    pausing = whole("Those that wait and are tried again by themselves.")
    passing = truth("Whether such a cause goes away by itself.")
    words = text("What one of them says.")
    examples = fields.List(fields.Integer(), required=True, metadata={"description": "Some radiographs."})
    next_try = moment("Of those that wait.", allow_none=True)


class Queue(Answer):
    """What waits, runs and has ended."""

    waiting = whole("Jobs that nobody has begun.")
    running = whole("Jobs in hand.")
    done = whole("Jobs with an answer.")
    failed = whole("Jobs that ended with a stated failure.")
    quarantined = whole("Jobs set aside after three deaths of their workers.")
    cancelled = whole("Jobs that a person took back.")
    rejected = whole("Files that were refused at the door.")
    oldest_waiting_seconds = number("How long the oldest job has waited.", allow_none=True)
    images_per_second = number("Answers in the last minute, a second; an image has one of each active model.")
    rates = fields.Nested(Rates, required=True)
    seconds_to_finish = number("Until nothing is unfinished, as work goes now; null: unknown.", allow_none=True)
    waited = fields.Nested(
        Spread,
        required=True,
        allow_none=True,
        attribute="pace.waited",
        metadata={"description": "From a job's creation to the attempt that answered; null: none was done lately."},
    )
    ran = fields.Nested(
        Spread,
        required=True,
        allow_none=True,
        attribute="pace.ran",
        metadata={"description": "From then to the stored answer; likewise."},
    )
    broker = fields.Nested(Broker, required=True)
    paused = fields.List(fields.Nested(Paused), required=True, attribute="pauses")
    failures = fields.List(fields.Nested(Failures), required=True, attribute="causes")
    mains = fields.List(fields.Nested(MainProcess), required=True)
    workers = fields.List(fields.Nested(Worker), required=True)

    @pre_dump
    def _flatten(self, figures: QueueFigures, **_: Any) -> dict[str, Any]:
        return {**{status.value: count for status, count in figures.counts.items()}, **vars(figures)}


class Stretch(Answer):
    """What a stretch of time brought."""

    begin = moment("Its beginning.")
    done = whole("Jobs that got an answer.")
    failed = whole("Jobs that failed or were set aside.")
    known = truth("Whether anybody looked then; the clock or all workers may have been stopped.")


class QueueHistory(Answer):
    """What the last hours brought, oldest first."""

    seconds_a_stretch = whole("The length of a stretch.")
    stretches = fields.List(fields.Nested(Stretch), required=True)


class Changed(Answer):
    """What an order changed."""

    jobs = whole("So many jobs.")


class PauseChanged(Answer):
    """What pausing or resuming changed."""

    changed = truth("Whether it was otherwise before.")
    paused = fields.List(fields.Nested(Paused), required=True, metadata={"description": "All pauses in force now."})
