"""Ask one more model about a radiograph, an inactive one too: a worker that has its bundle serves any job."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.database import insert_ignoring, now
from core.errors import ModelNotInstalled, NotFound
from core.records.events import Event, record_events
from core.records.intake import PRIORITIES
from core.records.jobs import waiting_job
from core.records.models import ModelVersion, list_models
from core.records.results import get_radiograph
from core.tables import JobRow, JobStatus, Source


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The job of one model for one radiograph."""

    job: int
    model: str  # NAME/VERSION
    status: JobStatus
    new: bool  # it was made now; False: the model had been asked before


def ask_model(session: Session, radiograph_id: int, model: str, *, actor: str) -> Asked:
    """Have a radiograph classified by a model, unless that model was asked before: then say where its job stands.

    Args:
        session: A transaction that may write.
        radiograph_id: Of which radiograph.
        model: NAME/VERSION, or NAME for its active version, or else its newest one that is installed.
        actor: Who asked, for the audit trail.

    Raises:
        NotFound: There is no such radiograph or model.
        ModelNotInstalled: The model's bundle is gone.
    """
    get_radiograph(session, radiograph_id)
    chosen = _chosen(session, model)
    before = _job(session, radiograph_id, chosen)
    if before is not None:
        return before
    if not chosen.installed:
        raise ModelNotInstalled(f"The bundle of {chosen.full_name} is not installed here, so nothing can run it.")
    at = now(session)
    priority = PRIORITIES[Source.WEB]  # a person waits for it
    insert_ignoring(session, JobRow, [waiting_job(radiograph_id, chosen.id, priority=priority, at=at)])
    asked = _job(session, radiograph_id, chosen)
    if asked is None:
        raise NotFound(f"There is no radiograph {radiograph_id} any more.")
    # Of two at the same moment the unique key let one row in, and both find it: both have asked.
    event = Event(
        kind="asked", actor=actor, radiograph_id=radiograph_id, job_id=asked.job, detail={"model": chosen.full_name}
    )
    record_events(session, at, [event])
    return Asked(job=asked.job, model=asked.model, status=asked.status, new=True)


def models_not_asked(session: Session, radiograph_id: int) -> list[ModelVersion]:
    """Return the installed model versions that have no job for a radiograph, by name and version."""
    asked = set(session.scalars(select(JobRow.model_version_id).where(JobRow.radiograph_id == radiograph_id)))
    return [version for version in list_models(session) if version.installed and version.id not in asked]


def _chosen(session: Session, model: str) -> ModelVersion:
    name, _, wanted = model.partition("/")
    versions = list_models(session)
    fitting = [each for each in versions if each.name == name and wanted in ("", each.version)]
    if not fitting:
        known = ", ".join(version.full_name for version in versions) or "none"
        raise NotFound(f"There is no model {model!r}; known: {known}.")
    return max(fitting, key=lambda each: (each.active, each.installed, versions.index(each)))


def _job(session: Session, radiograph_id: int, model: ModelVersion) -> Asked | None:
    row = session.execute(
        select(JobRow.id, JobRow.status).where(
            JobRow.radiograph_id == radiograph_id, JobRow.model_version_id == model.id
        )
    ).one_or_none()
    return None if row is None else Asked(job=row.id, model=model.full_name, status=row.status, new=False)
