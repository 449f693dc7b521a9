"""The queue's figures."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.database import now
from core.records.counters import job_counts, rejected_arrivals
from core.records.workers import living
from core.tables import JobRow, JobStatus

#: The rate is taken over this many seconds.
_RATE_SECONDS = 60


@dataclass(frozen=True)
class WorkerFigure:
    """One process that classifies."""

    name: str
    engine: str
    holds: int
    held_since: datetime | None
    seen_seconds_ago: float
    memory_bytes: int


@dataclass(frozen=True)
class QueueFigures:
    """What waits, runs and has ended, in jobs; arrivals for `rejected`."""

    counts: dict[JobStatus, int]
    rejected: int
    oldest_waiting_seconds: float | None
    images_per_second: float  # jobs done, over the last minute
    workers: tuple[WorkerFigure, ...]

    @property
    def unfinished(self) -> int:
        """Jobs that still have to end."""
        return self.counts[JobStatus.WAITING] + self.counts[JobStatus.RUNNING]

    def document(self) -> dict[str, Any]:
        """Return it as JSON types; the keys are a contract."""
        return {
            **{status.value: count for status, count in self.counts.items()},
            "rejected": self.rejected,
            "oldest_waiting_seconds": self.oldest_waiting_seconds,
            "images_per_second": self.images_per_second,
            "workers": [
                {**vars(worker), "held_since": None if worker.held_since is None else worker.held_since.isoformat()}
                for worker in self.workers
            ],
        }


def queue_figures(session: Session, *, heard_within_seconds: float) -> QueueFigures:
    """Return them; their cost does not grow with what has been done.

    Args:
        session: An open transaction.
        heard_within_seconds: Workers silent for longer are left out.
    """
    at = now(session)
    oldest = session.scalar(select(func.min(JobRow.created_at)).where(JobRow.status == JobStatus.WAITING))
    since = at - timedelta(seconds=_RATE_SECONDS)
    done = session.scalar(
        select(func.count()).select_from(JobRow).where(JobRow.status == JobStatus.DONE, JobRow.finished_at >= since)
    )
    # What a worker holds is asked of the jobs: its own word is up to a heartbeat old.
    held = {
        name: (count, started)
        for name, count, started in session.execute(
            select(JobRow.worker, func.count(), func.min(JobRow.started_at))
            .where(JobRow.status == JobStatus.RUNNING)
            .group_by(JobRow.worker)
        )
    }
    workers = tuple(
        WorkerFigure(
            name=row.name,
            engine=row.engine,
            holds=held.get(row.name, (0, None))[0],
            held_since=held.get(row.name, (0, None))[1],
            seen_seconds_ago=max(0.0, (at - row.seen_at).total_seconds()),
            memory_bytes=row.memory_bytes,
        )
        for row in living(session, role="worker", within_seconds=heard_within_seconds)
    )
    return QueueFigures(
        counts=job_counts(session),
        rejected=rejected_arrivals(session),
        oldest_waiting_seconds=None if oldest is None else max(0.0, (at - oldest).total_seconds()),
        images_per_second=(done or 0) / _RATE_SECONDS,
        workers=workers,
    )
