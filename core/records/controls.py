"""What people pause and resume: the intake, all workers, or those of one machine.

In SQL, so that it holds for every process and across restarts. A paused worker finishes what it holds and takes no
more; a paused intake takes nothing from the inbox and refuses uploads.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, delete, select
from sqlalchemy.orm import Session

from core.database import insert_ignoring, now
from core.errors import IntakePaused
from core.records.events import Event, record_events
from core.tables import ControlRow, table_of

INTAKE, WORKERS = "intake", "workers"
LONGEST_HOST, LONGEST_NOTE = 128, 500


@dataclass(frozen=True)
class Pause:
    """One pause in force."""

    target: str  # INTAKE or WORKERS
    host: str | None  # only the workers of this machine; None: all
    since: datetime
    actor: str
    note: str  # why; may be empty

    def words(self) -> str:
        """Say it in a sentence."""
        what = {INTAKE: "The intake is paused", WORKERS: "All workers are paused"}[self.target]
        if self.host:
            what = f"The workers of {self.host} are paused"
        reason = f": {self.note.rstrip('.')}" if self.note else ""
        return f"{what} since {self.since:%Y-%m-%d %H:%M} UTC, by {self.actor}{reason}."


def pause(session: Session, target: str, *, actor: str, host: str | None = None, note: str = "") -> bool:
    """Pause; return whether that changed anything.

    Args:
        session: A transaction that may write.
        target: INTAKE or WORKERS.
        actor: Who does it, for the audit trail.
        host: Of workers: only those of this machine.
        note: Why.
    """
    at, name = now(session), _name(target, host)
    if session.get(ControlRow, name) is not None:
        return False
    insert_ignoring(session, ControlRow, [{"name": name, "paused_at": at, "actor": actor, "note": note}])
    detail = {"target": target, "host": host, "note": note}
    record_events(session, at, [Event(kind="paused", actor=actor, detail=detail)])
    return True


def resume(session: Session, target: str, *, actor: str, host: str | None = None) -> bool:
    """End a pause, of all workers also that of each machine; return whether there was one. Likewise `pause`."""
    names = [row.target_name for row in _rows(session) if row.covers(target, host)]
    if not names:
        return False
    session.execute(delete(ControlRow).where(ControlRow.name.in_(names)))
    record_events(session, now(session), [Event(kind="resumed", actor=actor, detail={"target": target, "host": host})])
    return True


def pauses(session: Session) -> tuple[Pause, ...]:
    """Return the pauses in force, oldest first."""
    return tuple(row.pause for row in _rows(session))


def paused_hosts(session: Session, hosts: Collection[str]) -> set[str]:
    """Return those of these machines whose workers take no work."""
    found = [pause for pause in pauses(session) if pause.target == WORKERS]
    return {host for host in hosts if any(pause.host in (None, host) for pause in found)}


#: Made once, since it is asked so often.
_CONTROLS = table_of(ControlRow)
_PAUSED = select(_CONTROLS.c.name).where(_CONTROLS.c.name.in_([bindparam("all"), bindparam("own")])).limit(1)


def worker_is_paused(session: Session, host: str) -> bool:
    """Whether the workers of a machine take no work; asked before every claim, so it reads a key or two."""
    return session.scalars(_PAUSED, {"all": WORKERS, "own": _name(WORKERS, host)}).first() is not None


def intake_pause(session: Session) -> Pause | None:
    """Return the intake's pause, if it is in force."""
    row = session.get(ControlRow, INTAKE)
    return None if row is None else _Row(row).pause


def refuse_paused_intake(session: Session) -> None:
    """Let pass unless the intake is paused.

    Raises:
        IntakePaused: It is.
    """
    if found := intake_pause(session):
        raise IntakePaused(f"{found.words()} Nothing was taken; send it again when the intake is resumed.")


def _name(target: str, host: str | None) -> str:
    return target if host is None else f"{target}@{host}"


class _Row:
    """A row with its name taken apart."""

    def __init__(self, row: ControlRow) -> None:
        target, _, host = row.name.partition("@")
        self.target_name = row.name
        self.pause = Pause(target, host or None, row.paused_at, row.actor, row.note)

    def covers(self, target: str, host: str | None) -> bool:
        return self.pause.target == target and host in (None, self.pause.host)


def _rows(session: Session) -> list[_Row]:
    return [_Row(row) for row in session.scalars(select(ControlRow).order_by(ControlRow.paused_at, ControlRow.name))]
