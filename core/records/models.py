"""Model versions: which bundles are installed, and which of them answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from core.bundle import Bundle, version_key
from core.database import insert_ignoring, now
from core.errors import NotFound
from core.records.events import Event, record_events
from core.tables import ModelVersionRow

#: The names under which this project ships its model of each task.
_SHIPPED = {"fracture-type": "fracture-types", "fracture": "fracture"}


@dataclass(frozen=True)
class ModelVersion:
    """One row, without the card."""

    id: int
    name: str
    version: str
    task: str
    sha256: str  # of the card
    installed: bool
    active: bool

    @property
    def full_name(self) -> str:
        """Name and version, as people write it."""
        return f"{self.name}/{self.version}"


def register_bundles(session: Session, bundles: Sequence[Bundle], actor: str) -> list[ModelVersion]:
    """Make the table agree with the bundles on disk.

    A new installation begins with one model for each task: the shipped one, or the first by name. Afterwards a
    bundle that comes, by an upgrade or an import, waits for `models activate`: a person's choice stays. Only where an
    active version's bundle is gone, the newest installed one of its name takes its place.

    Returns:
        All versions known, by name and version.
    """
    at = now(session)
    rows = [
        {
            "name": bundle.card.name,
            "version": bundle.card.version,
            "task": bundle.card.task,
            "sha256": bundle.sha256,
            "card": dict(bundle.card.document),
            "installed": True,
            "active": False,
            "created_at": at,
        }
        for bundle in bundles
    ]
    is_new = session.scalar(select(ModelVersionRow.id).limit(1)) is None
    insert_ignoring(session, ModelVersionRow, rows)
    here = [bundle.sha256 for bundle in bundles]
    session.execute(
        update(ModelVersionRow)
        .where(ModelVersionRow.installed.is_distinct_from(ModelVersionRow.sha256.in_(here)))
        .values(installed=ModelVersionRow.sha256.in_(here))
    )
    versions = list_models(session)
    for name in sorted({version.name for version in versions}):
        group = [version for version in versions if version.name == name]
        gone = [version for version in group if version.active and not version.installed]
        present = [version for version in group if version.installed]
        if present and gone and not any(version.active for version in present):
            _switch(session, present[-1], active=True, actor=actor)
            for version in gone:
                _switch(session, version, active=False, actor=actor)
    for version in _first_choice(versions) if is_new else ():
        _switch(session, version, active=True, actor=actor)
    return list_models(session)


def list_models(session: Session) -> list[ModelVersion]:
    """Return all versions, by name and version."""
    rows = session.scalars(select(ModelVersionRow))
    versions = [
        ModelVersion(row.id, row.name, row.version, row.task, row.sha256, row.installed, row.active) for row in rows
    ]
    return sorted(versions, key=lambda version: (version.name, version_key(version.version)))


def model_cards(session: Session) -> dict[int, dict[str, Any]]:
    """Return the cards of all versions, by the versions' ids."""
    return {row.id: row.card for row in session.scalars(select(ModelVersionRow))}


def active_models(session: Session) -> list[ModelVersion]:
    """Return the versions that classify new radiographs."""
    return [version for version in list_models(session) if version.active]


def set_active(session: Session, full_name: str, *, active: bool, actor: str) -> ModelVersion:
    """Activate or deactivate `NAME/VERSION`, or `NAME` for its newest version that fits; one version a name is active.

    Raises:
        NotFound: There is no such version, or it is to be activated and its bundle is not installed.
    """
    name, _, wanted = full_name.partition("/")
    versions = [version for version in list_models(session) if version.name == name]
    fitting = [
        version
        for version in versions
        if version.version == wanted or (not wanted and (version.installed if active else version.active))
    ]
    if not fitting:
        known = ", ".join(version.full_name for version in list_models(session)) or "none"
        raise NotFound(f"There is no model {full_name!r} to {'activate' if active else 'deactivate'}; known: {known}.")
    chosen = fitting[-1]
    if active and not chosen.installed:
        raise NotFound(f"The bundle of {chosen.full_name} is not installed here.")
    if active:
        for other in versions:
            if other.active and other.id != chosen.id:
                _switch(session, other, active=False, actor=actor)
    if chosen.active != active:
        _switch(session, chosen, active=active, actor=actor)
    return chosen


def _first_choice(versions: Sequence[ModelVersion]) -> list[ModelVersion]:
    """Return one version for each task: the newest of the shipped name, or else of the first name."""
    chosen = []
    for task in sorted({version.task for version in versions}):
        group = [version for version in versions if version.task == task]
        names = {version.name for version in group}
        name = _SHIPPED[task] if _SHIPPED.get(task) in names else min(names)
        chosen += [version for version in group if version.name == name][-1:]
    return chosen


def _switch(session: Session, version: ModelVersion, *, active: bool, actor: str) -> None:
    session.execute(update(ModelVersionRow).where(ModelVersionRow.id == version.id).values(active=active))
    kind = "activated" if active else "deactivated"
    record_events(session, now(session), [Event(kind=kind, actor=actor, detail={"model": version.full_name})])
