"""The queue's figures, computed once for the page, the API, the command line and metrics."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, bindparam, func, select
from sqlalchemy.orm import Session

from core.broker_sight import BrokerSight
from core.database import now
from core.records.controls import WORKERS, Pause, pauses
from core.records.counters import job_counts, rejected_arrivals
from core.records.failures import Cause, causes
from core.records.history import Pace, Rates, pace, rates
from core.records.workers import MAIN, WORKER, heartbeats
from core.settings import Settings
from core.states import Scene, WorkerState, judge, judge_main
from core.tables import JobRow, JobStatus, WorkerRow

#: The dead are named for so long after they were last heard of; who replaced them has long been there by then.
_MOURNED = timedelta(minutes=10)
#: Of the jobs that wait, those of highest priority that are looked at to tell whether any may be claimed now.
_LOOKED_AT = 1000


@dataclass(frozen=True, kw_only=True)
class ProcessFigure:
    """One process of a worker."""

    name: str
    host: str
    seen_seconds_ago: float
    memory_bytes: int
    state: WorkerState
    words: str  # why, where that is not plain
    paused: bool  # takes no more


@dataclass(frozen=True, kw_only=True)
class WorkerFigure(ProcessFigure):
    """One process that classifies."""

    engine: str
    model: str | None  # NAME/VERSION of the network used last
    holds: int
    held_since: datetime | None
    held_seconds: float | None
    main: str | None  # the main process that hands it bells


@dataclass(frozen=True, kw_only=True)
class MainFigure(ProcessFigure):
    """One worker's main process, which takes bells and starts the processes that classify."""

    connected: bool
    prefetched: int  # bells taken that no process has begun


@dataclass(frozen=True, kw_only=True)
class BrokerFigures:
    """What the broker holds, and whether that fits what the database says."""

    answers: bool | None  # None: nobody has looked yet
    announced: int | None  # bells that nobody has taken
    prefetched: int  # bells that main processes took and nobody has begun
    unacknowledged: int | None  # bells that would be given again
    agrees: bool
    words: str


@dataclass(frozen=True, kw_only=True)
class QueueFigures:
    """What waits, runs and has ended, in jobs; arrivals for `rejected`."""

    at: datetime  # by the database's clock
    counts: dict[JobStatus, int]
    rejected: int
    oldest_waiting_seconds: float | None
    images_per_second: float  # answers, over the last minute; the name is that of a contract
    rates: Rates
    seconds_to_finish: float | None  # None: unknown
    pace: Pace
    broker: BrokerFigures
    pauses: tuple[Pause, ...]
    causes: tuple[Cause, ...]
    mains: tuple[MainFigure, ...]
    workers: tuple[WorkerFigure, ...]

    @property
    def unfinished(self) -> int:
        """Jobs that still have to end."""
        return self.counts[JobStatus.WAITING] + self.counts[JobStatus.RUNNING]

    @property
    def working(self) -> int:
        """Processes that classify, or would."""
        return sum(worker.state in (WorkerState.BUSY, WorkerState.IDLE) for worker in self.workers)

    @property
    def processes(self) -> tuple[ProcessFigure, ...]:
        """All of them, the main ones first."""
        return (*self.mains, *self.workers)

    @property
    def hosts(self) -> tuple[str, ...]:
        """The machines on which workers run."""
        return tuple(sorted({process.host for process in self.processes}))

    def is_paused(self, target: str, host: str | None = None) -> bool:
        """Whether the intake, all workers, or those of a machine are paused."""
        return any(pause.target == target and pause.host in (None, host) for pause in self.pauses)

    def document(self) -> dict[str, Any]:
        """Return it as JSON types; the keys are a contract."""
        return {
            **{status.value: count for status, count in self.counts.items()},
            "rejected": self.rejected,
            "oldest_waiting_seconds": self.oldest_waiting_seconds,
            "images_per_second": self.images_per_second,
            "rates": vars(self.rates),
            "seconds_to_finish": self.seconds_to_finish,
            "waited": vars(self.pace.waited) if self.pace.waited else None,
            "ran": vars(self.pace.ran) if self.pace.ran else None,
            "broker": vars(self.broker),
            "paused": [
                {"target": p.target, "host": p.host, "since": p.since.isoformat(), "by": p.actor, "words": p.words()}
                for p in self.pauses
            ],
            "failures": [
                {
                    **vars(cause),
                    "count": cause.count,
                    "examples": list(cause.examples),
                    "next_try": cause.next_try.isoformat() if cause.next_try else None,
                }
                for cause in self.causes
            ],
            "mains": [dict(vars(main)) for main in self.mains],
            "workers": [
                {**vars(worker), "held_since": None if worker.held_since is None else worker.held_since.isoformat()}
                for worker in self.workers
            ],
        }

    def tag(self) -> str:
        """Return what stays the same while nothing happens but that time passes."""
        document = self.document()
        for name, step in (("oldest_waiting_seconds", 5), ("seconds_to_finish", 5)):
            document[name] = None if document[name] is None else document[name] // step
        for part in (*document["mains"], *document["workers"]):
            for name in ("seen_seconds_ago", "held_seconds", "memory_bytes"):
                part.pop(name, None)
        return hashlib.sha256(json.dumps(document, default=str).encode()).hexdigest()[:32]


def queue_figures(
    session: Session,
    settings: Settings,
    broker: BrokerSight | None = None,
    *,
    known_pace: Pace | None = None,
) -> QueueFigures:
    """Return them; their cost does not grow with what has been done.

    Args:
        session: An open transaction.
        settings: Timers and limits.
        broker: What the broker holds; None: nobody has looked.
        known_pace: From a little while ago; None: look now.
    """
    at, counts, found_pauses = now(session), job_counts(session), pauses(session)
    sight = broker or BrokerSight()
    oldest = session.scalar(select(func.min(JobRow.created_at)).where(JobRow.status == JobStatus.WAITING))
    rows = heartbeats(session)
    scene = replace(Scene.here(at, rows, settings), broker_answers=sight.answers, untaken_seconds=sight.untaken_seconds)
    claimable = bool(counts[JobStatus.WAITING]) and _any_claimable(session, at)
    if not claimable:  # bells left over are nobody's fault
        scene = replace(scene, untaken_seconds=0.0)
    workers = _workers(session, scene, found_pauses)
    mains = _mains(scene, workers, found_pauses)
    found_pace = known_pace or pace(session, at)
    found_rates = rates(session, at)
    unfinished = counts[JobStatus.WAITING] + counts[JobStatus.RUNNING]
    can_go_on = any(
        worker.state == WorkerState.BUSY or (worker.state == WorkerState.IDLE and not worker.paused)
        for worker in workers
    )
    seconds = None
    if not unfinished:
        seconds = 0.0
    elif can_go_on and found_pace.per_second and not all(worker.paused for worker in workers):
        seconds = unfinished / found_pace.per_second
    return QueueFigures(
        at=at,
        counts=counts,
        rejected=rejected_arrivals(session),
        oldest_waiting_seconds=None if oldest is None else max(0.0, (at - oldest).total_seconds()),
        images_per_second=found_rates.minute,
        rates=found_rates,
        seconds_to_finish=seconds,
        pace=found_pace,
        broker=_compared(sight, claimable, workers, mains),
        pauses=found_pauses,
        causes=causes(session),
        mains=mains,
        workers=workers,
    )


def _workers(session: Session, scene: Scene, found_pauses: Sequence[Pause]) -> tuple[WorkerFigure, ...]:
    # What a worker holds is asked of the jobs: its own word is up to a heartbeat old.
    held = {
        name: (count, started)
        for name, count, started in session.execute(
            select(JobRow.worker, func.count(), func.min(JobRow.started_at))
            .where(JobRow.status == JobStatus.RUNNING)
            .group_by(JobRow.worker)
        )
    }
    found = []
    for row in scene.rows:
        if row.role != WORKER:
            continue
        holds, since = held.get(row.name, (0, None))
        seconds = None if since is None else max(0.0, (scene.at - since).total_seconds())
        judged = judge(row, scene, seconds)
        if judged.state == WorkerState.DEAD and row.seen_at < scene.at - _MOURNED:
            continue
        figure = WorkerFigure(
            name=row.name,
            host=row.host,
            engine=row.engine,
            model=row.model,
            holds=holds,
            held_since=since,
            held_seconds=seconds,
            seen_seconds_ago=scene.silence(row),
            memory_bytes=row.memory_bytes,
            main=row.main,
            state=judged.state,
            words=judged.words,
            paused=_is_paused(row, found_pauses),
        )
        found.append(figure)
    return tuple(found)


def _mains(scene: Scene, workers: Sequence[WorkerFigure], found_pauses: Sequence[Pause]) -> tuple[MainFigure, ...]:
    busy = {worker.main for worker in workers if worker.state == WorkerState.BUSY}
    found = []
    for row in scene.rows:
        if row.role != MAIN:
            continue
        judged = judge_main(row, scene, any_busy=row.name in busy)
        if judged.state == WorkerState.DEAD and row.seen_at < scene.at - _MOURNED:
            continue
        figure = MainFigure(
            name=row.name,
            host=row.host,
            seen_seconds_ago=scene.silence(row),
            memory_bytes=row.memory_bytes,
            connected=bool(row.connected),
            prefetched=row.prefetched or 0,
            state=judged.state,
            words=judged.words,
            paused=_is_paused(row, found_pauses),
        )
        found.append(figure)
    return tuple(found)


def _is_paused(row: WorkerRow, found_pauses: Sequence[Pause]) -> bool:
    return any(pause.target == WORKERS and pause.host in (None, row.host) for pause in found_pauses)


def _any_claimable(session: Session, at: datetime) -> bool:
    """Whether some of what waits may be claimed now, as far as its head tells; the rest pauses after passing causes."""
    # Written out, as in `claims`: only then do planners see that the partial index of waiting jobs serves.
    waiting = bindparam("waiting", JobStatus.WAITING, JobRow.status.type, literal_execute=True)
    is_waiting: ColumnElement[Any] = JobRow.status == waiting
    if session.get_bind().dialect.name == "sqlite":
        is_waiting = func.likely(is_waiting)
    head = (
        select(JobRow.available_at)
        .where(is_waiting)
        .order_by(JobRow.priority.desc(), JobRow.id)
        .limit(_LOOKED_AT)
        .subquery()
    )
    return session.scalars(select(head.c.available_at).where(head.c.available_at <= at).limit(1)).first() is not None


def _compared(
    sight: BrokerSight, claimable: bool, workers: Sequence[WorkerFigure], mains: Sequence[MainFigure]
) -> BrokerFigures:
    """Hold the broker's counts against what the database says."""
    prefetched = sum(main.prefetched for main in mains if main.state in (WorkerState.BUSY, WorkerState.IDLE))
    announced = sight.bells.announced if sight.bells else None
    unacknowledged = sight.bells.unacknowledged if sight.bells else None
    bells = (announced or 0) + prefetched + (unacknowledged or 0)
    busy = any(worker.state == WorkerState.BUSY for worker in workers)
    states = [*(worker.state for worker in workers), *(main.state for main in mains)]
    stuck = WorkerState.WEDGED in states
    agrees, words = True, "The broker and the database agree."
    if sight.answers is None:
        words = "Nobody has looked at the broker yet."
    elif not sight.answers:
        agrees, words = False, "The broker does not answer. What waits is safe in the database and is announced later."
    elif claimable and not bells and not busy:
        agrees, words = False, "Work waits that no bell announces; it is announced again within seconds of being found."
    elif claimable and announced and stuck:
        agrees, words = False, "Bells lie in the broker, and not every worker takes them."
    elif bells and not claimable and not busy:
        agrees, words = False, "Bells are left over for which nothing waits; whoever takes one finds nothing to do."
    return BrokerFigures(
        answers=sight.answers,
        announced=announced,
        prefetched=prefetched,
        unacknowledged=unacknowledged,
        agrees=agrees,
        words=words,
    )
