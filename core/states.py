"""Is a worker well? Judged from what it says, what its main process says of it, and what the kernel shows here.

Each kind of evidence alone misleads. A heartbeat comes from a thread that goes on while the rest hangs; silence may be
a network that is being loaded; a main process that hangs leaves healthy processes without work; and bells that lie in
the broker may have been rung this moment. All lengths of time are of the database's clock, or were measured by one
process, so that machines whose clocks differ are judged alike. Pure functions: everything they need is passed in.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from core import processes
from core.records.workers import Seen
from core.settings import Settings
from core.tables import WorkerRow

#: Heartbeats missed before a process counts as silent, and before one that nobody can look at counts as gone.
_SILENT_BEATS, _GONE_BEATS = 3, 5
#: A worker that lost its broker asks for it again at the latest after half a minute (Celery's own pause).
_CONNECT_SECONDS = 60.0


class WorkerState(enum.StrEnum):
    """How a process of a worker is."""

    BUSY = "busy"
    IDLE = "idle"
    WEDGED = "wedged"  # it is there and gets nothing done
    DEAD = "dead"
    UNKNOWN = "unknown"  # silent, and nobody can tell why


@dataclass(frozen=True)
class Judgement:
    """A state, and why in a sentence where that is not plain."""

    state: WorkerState
    words: str = ""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What is the same for all processes that are judged at one moment."""

    at: datetime  # by the database's clock
    rows: tuple[WorkerRow, ...]  # all that have not signed off
    beat_seconds: float
    batch_limit_seconds: float
    broker_answers: bool | None = None  # None: not known
    untaken_seconds: float = 0.0  # for how long bells have been lying in the broker all the time
    look: Callable[[int], processes.Sight | None] = processes.see
    place: str = ""  # of who judges

    @classmethod
    def here(cls, at: datetime, rows: Iterable[WorkerRow], settings: Settings) -> Scene:
        """Return the scene as it looks from this process, without the broker."""
        return cls(
            at=at,
            rows=tuple(rows),
            beat_seconds=settings.heartbeat_seconds,
            batch_limit_seconds=settings.batch_limit_seconds,
            place=processes.place(),
        )

    @property
    def silent_after(self) -> float:
        """Seconds without a heartbeat after which a process counts as silent."""
        return _SILENT_BEATS * self.beat_seconds

    def silence(self, row: WorkerRow) -> float:
        """Seconds since a process was heard of."""
        return max(0.0, (self.at - row.seen_at).total_seconds())

    def is_heard(self, row: WorkerRow) -> bool:
        """Whether it was heard of lately."""
        return self.silence(row) < self.silent_after

    def main_of(self, row: WorkerRow) -> WorkerRow | None:
        """Return the main process of one that classifies."""
        return next((each for each in self.rows if row.main is not None and each.name == row.main), None)

    def others_are_heard(self, row: WorkerRow) -> bool:
        """Whether some other process was heard of lately, so that the database takes heartbeats."""
        return any(self.is_heard(each) for each in self.rows if each.name not in (row.name, row.main))


def judge(row: WorkerRow, scene: Scene, held_seconds: float | None) -> Judgement:
    """Judge a process that classifies.

    Args:
        row: Its heartbeat.
        scene: What else is known.
        held_seconds: For how long it has had the oldest job in its hand; None: it has none.
    """
    main = scene.main_of(row)
    if main is not None and scene.is_heard(main) and main.seen_at >= row.seen_at:
        seen = _seen_by(main, row)
        if seen is not None and seen.stopped:
            return Judgement(WorkerState.WEDGED, "It is stopped (by a signal or a debugger) and does nothing.")
        if not scene.is_heard(row):
            return _silent_child(row, scene, seen, held_seconds)
    if not scene.is_heard(row):
        return _silent(row, scene)
    if held_seconds is not None:
        if held_seconds > scene.batch_limit_seconds + scene.silent_after:
            return Judgement(
                WorkerState.WEDGED,
                f"It has had the same batch for {held_seconds:.0f} s; {scene.batch_limit_seconds:g} s are allowed.",
            )
        return Judgement(WorkerState.BUSY)
    if main is not None and not scene.is_heard(main):
        return Judgement(WorkerState.WEDGED, "It lives, but its main process is silent and hands it no work.")
    idle = 0.0 if row.idle_since is None else (scene.at - row.idle_since).total_seconds()
    if min(idle, scene.untaken_seconds) >= scene.silent_after:
        return Judgement(
            WorkerState.WEDGED, f"Bells have been lying in the broker for {scene.untaken_seconds:.0f} s; it takes none."
        )
    return Judgement(WorkerState.IDLE)


def judge_main(row: WorkerRow, scene: Scene, *, any_busy: bool) -> Judgement:
    """Judge a worker's main process, which takes bells and starts the processes that classify.

    Args:
        row: Its heartbeat.
        scene: What else is known.
        any_busy: One of its processes has work in hand.
    """
    if not scene.is_heard(row):
        judged = _silent(row, scene)
        heard = [each for each in scene.rows if each.main == row.name and scene.is_heard(each)]
        if heard and judged.state != WorkerState.WEDGED:
            words = f"It has been silent for {scene.silence(row):.0f} s, but its processes live."
            return Judgement(WorkerState.WEDGED, words)
        return judged
    still = None if row.turned_at is None else (scene.at - row.turned_at).total_seconds()
    if row.connected and still is not None and still - scene.silence(row) >= scene.silent_after:
        return Judgement(WorkerState.WEDGED, f"It lives, but has taken no message for {still:.0f} s.")
    if not row.connected and still is not None:
        if scene.broker_answers and still >= _CONNECT_SECONDS:
            words = f"It has had no connection to the broker for {still:.0f} s, though the broker answers here."
            return Judgement(WorkerState.WEDGED, words)
        return Judgement(WorkerState.BUSY if any_busy else WorkerState.IDLE, "It waits for the broker.")
    return Judgement(WorkerState.BUSY if any_busy else WorkerState.IDLE)


def _silent_child(row: WorkerRow, scene: Scene, seen: Seen | None, held_seconds: float | None) -> Judgement:
    """Judge a silent process whose main process speaks: it knows."""
    silence = scene.silence(row)
    if seen is None:
        return Judgement(WorkerState.DEAD, "Its main process says that it has ended.")
    if seen.at_work and (held_seconds or 0.0) <= scene.batch_limit_seconds:
        return Judgement(WorkerState.BUSY, f"Silent for {silence:.0f} s, but computing; perhaps it loads a network.")
    if silence < _GONE_BEATS * scene.beat_seconds:  # short of processor time, perhaps
        return Judgement(WorkerState.UNKNOWN, f"It is there, but has been silent for {silence:.0f} s.")
    return Judgement(WorkerState.WEDGED, f"It is there, but has been silent for {silence:.0f} s and does not compute.")


def _silent(row: WorkerRow, scene: Scene) -> Judgement:
    """Judge a silent process of which no other process speaks."""
    silence = scene.silence(row)
    words = f"It has been silent for {silence:.0f} s"
    if row.place and row.place == scene.place:
        sight = scene.look(row.pid)
        if sight is None or (row.born is not None and sight.born != row.born):
            return Judgement(WorkerState.DEAD, "Its process is gone.")
        if sight.stopped:
            return Judgement(WorkerState.WEDGED, "It is stopped (by a signal or a debugger) and does nothing.")
        if silence >= _GONE_BEATS * scene.beat_seconds and scene.others_are_heard(row):
            return Judgement(WorkerState.WEDGED, f"{words}, though its process is there.")
        return Judgement(WorkerState.UNKNOWN, f"{words}; its process is there.")
    if silence >= _GONE_BEATS * scene.beat_seconds and scene.others_are_heard(row):
        return Judgement(WorkerState.DEAD, f"{words}, while others are heard: it is gone or cut off.")
    return Judgement(WorkerState.UNKNOWN, f"{words}.")


def _seen_by(main: WorkerRow, row: WorkerRow) -> Seen | None:
    """Return what a main process sees of one of its processes, or None when it has none of that number and birth."""
    found = (main.children or {}).get(str(row.pid))
    if found is None or (row.born is not None and found["born"] != row.born):
        return None
    return Seen(**found)
