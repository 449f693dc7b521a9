"""What a look at the broker shows; apart from the looking, so that figures need no Celery."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Bells:
    """Messages in the broker."""

    announced: int  # that nobody has taken
    unacknowledged: int | None  # taken, and given again if nobody says that they are dealt with; None: not told


@dataclass(frozen=True)
class BrokerSight:
    """The latest look."""

    answers: bool | None = None  # None: nobody has looked yet
    bells: Bells | None = None
    untaken_seconds: float = 0.0  # for how long there have been untaken bells at every look
