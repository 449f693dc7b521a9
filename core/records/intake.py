"""Write arrivals, radiographs and jobs, in one transaction and before anyone is told."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from core.database import append, insert_ignoring, now
from core.errors import NoActiveModel, NotFound, RejectedImage
from core.pictures import ImageFacts
from core.records.events import Event, record_events
from core.records.jobs import waiting_job
from core.records.models import active_models
from core.records.names import add_names, searched_lines
from core.tables import (
    ArrivalRadiographRow,
    ArrivalRow,
    ArrivalStatus,
    JobRow,
    JobStatus,
    RadiographRow,
    Source,
    SubmissionRow,
)

#: Interactive work overtakes bulk work, because the claim takes the highest priority first.
PRIORITIES = {Source.WEB: 10, Source.API: 10, Source.COMMAND: 0, Source.INBOX: 0, Source.DICOM: 0}


@dataclass(frozen=True, kw_only=True)
class Submission:
    """What came together."""

    source: Source
    name: str = ""
    tags: tuple[str, ...] = ()
    priority: int | None = None  # None: by source
    actor: str = "door"  # who brought it, for the audit trail; the door itself where nobody signs in
    continues: int | None = None  # an earlier part of the same upload, whose row these files join


@dataclass(frozen=True)
class Stored:
    """What is kept in the store where it differs from what came."""

    sha256: str
    bytes: int


@dataclass(frozen=True, kw_only=True)
class Examined:
    """One file after the door: either `facts` (its original is in the store by now) or `problem`."""

    name: str
    bytes: int
    sha256: str | None  # None: too large to be read
    facts: ImageFacts | None = None
    storage_key: str = ""
    stored: Stored | None = None  # None: as it came
    patient_key: str | None = None
    problem: RejectedImage | None = None
    claim: str | None = None  # the inbox's folder below processing/
    came_with: str | None = None  # the inbox's archive or folder that it came in


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """The door's answer for one file."""

    id: int
    submission_id: int
    name: str
    status: ArrivalStatus
    error_code: str | None
    error_words: str | None
    radiograph_ids: tuple[int, ...]
    duplicate: bool  # the same bytes were here before


@dataclass(frozen=True)
class Intake:
    """What one call wrote."""

    arrivals: tuple[Arrival, ...]  # in the order of the files
    new_jobs: int


def record_intake(session: Session, submission: Submission, files: Sequence[Examined]) -> Intake:
    """Record files that came in together.

    Same bytes again become a new arrival of the same radiograph; a job is added only for an active model that has
    none yet.

    Raises:
        NoActiveModel: There are good files and no model to classify them.
        NotFound: The submission continues one that does not exist or came through another door.
    """
    models = active_models(session)
    if not models and any(file.facts for file in files):
        raise NoActiveModel
    at = now(session)
    priority = PRIORITIES[submission.source] if submission.priority is None else submission.priority
    row = _submission_row(session, submission, priority)
    if submission.continues is not None:
        priority = row.priority  # which somebody may have changed since

    digests = sorted({file.sha256 for file in files if file.facts and file.sha256})
    before = set(session.scalars(select(RadiographRow.sha256).where(RadiographRow.sha256.in_(digests))))
    # In the order of the hash, so that two processes that write the same radiographs cannot deadlock.
    radiographs = {
        (file.sha256, frame): {
            "sha256": file.sha256,
            "frame": frame,
            "media_type": file.facts.media_type,
            "width": facts.width,
            "height": facts.height,
            "bit_depth": facts.bit_depth,
            "bytes": file.bytes,
            **_kept(file),
            "name": file.name,
            "source": submission.source,
            "received_at": at,
            "searched": searched_lines([file.name, row.name]),
        }
        for file in reversed(files)
        if file.facts
        for frame, facts in enumerate(file.facts.frames)
    }
    insert_ignoring(session, RadiographRow, [radiographs[key] for key in sorted(radiographs, key=str)])
    _bring_back_originals(session, digests, submission.actor)
    _store_anew(session, [file for file in files if file.facts and file.sha256 in before])
    ids: dict[str, list[int]] = {}
    found = select(RadiographRow.sha256, RadiographRow.id).where(RadiographRow.sha256.in_(digests))
    for digest, radiograph_id in session.execute(found.order_by(RadiographRow.sha256, RadiographRow.frame)):
        ids.setdefault(digest, []).append(radiograph_id)
    names: dict[int, list[str]] = {}
    for file in files:
        for radiograph_id in ids[file.sha256 or ""] if file.facts else ():
            names.setdefault(radiograph_id, [row.name]).append(file.name)
    add_names(session, names)

    arrivals = _record_arrivals(session, row.id, submission.actor, files, ids, before)
    new_jobs = _record_jobs(
        session, [number for digest in digests for number in ids[digest]], [m.id for m in models], priority
    )
    return Intake(arrivals=tuple(arrivals), new_jobs=new_jobs)


def _bring_back_originals(session: Session, digests: Sequence[str], actor: str) -> None:
    """Note of radiographs whose originals were deleted that they are in the store again."""
    back = (
        update(RadiographRow)
        .where(RadiographRow.sha256.in_(digests), RadiographRow.original_deleted_at.is_not(None))
        .values(original_deleted_at=None)
        .returning(RadiographRow.id)
        .execution_options(synchronize_session=False)
    )
    numbers = session.scalars(back).all()
    events = [Event(kind="original-back", actor=actor, radiograph_id=number) for number in numbers]
    record_events(session, now(session), events)


def _kept(file: Examined) -> dict[str, Any]:
    """Return the columns that say what is stored of a file and what its header says."""
    dicom = file.facts.dicom if file.facts else None
    return {
        "storage_key": file.storage_key,
        "stored_sha256": file.stored.sha256 if file.stored else None,
        "stored_bytes": file.stored.bytes if file.stored else None,
        "patient_key": file.patient_key,
        "about": dataclasses.asdict(dicom) if dicom else None,
    }


def _store_anew(session: Session, files: Sequence[Examined]) -> None:
    """Point to what was stored now where the same content was stored otherwise before: with names, or another key."""
    for file in sorted(files, key=lambda each: each.sha256 or ""):
        if file.facts and file.facts.dicom:
            known = (RadiographRow.sha256 == file.sha256, RadiographRow.storage_key != file.storage_key)
            said = {**_kept(file), "name": file.name, "searched": searched_lines([file.name])}
            session.execute(update(RadiographRow).where(*known).values(**said))


def continued(session: Session, submission: Submission) -> SubmissionRow | None:
    """Return the earlier submission that this one continues, or None when it is a new one.

    Raises:
        NotFound: It does not exist or came through another door.
    """
    if submission.continues is None:
        return None
    found = session.get(SubmissionRow, submission.continues)
    if found is None or found.source != submission.source:
        raise NotFound(f"There is no submission {submission.continues} that these files could join.")
    return found


def _submission_row(session: Session, submission: Submission, priority: int) -> SubmissionRow:
    if (found := continued(session, submission)) is not None:
        return found
    row = SubmissionRow(
        name=submission.name,
        source=submission.source,
        priority=priority,
        tags=list(submission.tags),
        created_at=now(session),
    )
    session.add(row)
    session.flush()
    return row


def _record_arrivals(
    session: Session,
    submission_id: int,
    actor: str,
    files: Sequence[Examined],
    ids: dict[str, list[int]],
    before: set[str],
) -> list[Arrival]:
    at = now(session)
    rows = [
        {
            "submission_id": submission_id,
            "name": file.name,
            "sha256": file.sha256,
            "bytes": file.bytes,
            "status": ArrivalStatus.REJECTED if file.problem else ArrivalStatus.ACCEPTED,
            "error_code": file.problem.code if file.problem else None,
            "error_words": str(file.problem) if file.problem else None,
            "received_at": at,
            "claim": file.claim,
            "came_with": file.came_with,
        }
        for file in files
    ]
    numbers = session.scalars(insert(ArrivalRow).returning(ArrivalRow.id, sort_by_parameter_order=True), rows).all()
    arrivals, links, events, seen = [], [], [], set(before)
    for file, number in zip(files, numbers, strict=True):
        became = tuple(ids.get(file.sha256 or "", ())) if file.facts else ()
        duplicate = bool(file.facts) and file.sha256 in seen
        seen.add(file.sha256 or "")
        links += [{"arrival_id": number, "radiograph_id": radiograph} for radiograph in became]
        kind = "rejected" if file.problem else "received"
        detail = {"code": file.problem.code} if file.problem else {"name": file.name, "duplicate": duplicate}
        events += [
            Event(kind=kind, actor=actor, arrival_id=number, radiograph_id=radiograph, detail=detail)
            for radiograph in became or (None,)
        ]
        arrivals.append(
            Arrival(
                id=number,
                submission_id=submission_id,
                name=file.name,
                status=ArrivalStatus.REJECTED if file.problem else ArrivalStatus.ACCEPTED,
                error_code=file.problem.code if file.problem else None,
                error_words=str(file.problem) if file.problem else None,
                radiograph_ids=became,
                duplicate=duplicate,
            )
        )
    append(session, ArrivalRadiographRow, links)
    record_events(session, at, events)
    return arrivals


def _record_jobs(session: Session, radiograph_ids: Sequence[int], model_ids: Sequence[int], priority: int) -> int:
    """Add the jobs that are missing; return how many. Those that wait already wait no longer than new ones would."""
    at = now(session)
    session.execute(
        update(JobRow)
        .where(
            JobRow.radiograph_id.in_(radiograph_ids),
            JobRow.model_version_id.in_(model_ids),
            JobRow.status == JobStatus.WAITING,
            JobRow.priority < priority,
        )
        .values(priority=priority)
    )
    existing = {
        (radiograph, model)
        for radiograph, model in session.execute(
            select(JobRow.radiograph_id, JobRow.model_version_id).where(JobRow.radiograph_id.in_(radiograph_ids))
        )
    }
    rows = [
        waiting_job(radiograph, model, priority=priority, at=at)
        for radiograph in radiograph_ids
        for model in model_ids
        if (radiograph, model) not in existing
    ]
    insert_ignoring(session, JobRow, rows)
    return len(rows)


def rejections_by_code(session: Session) -> dict[str, int]:
    """Return how many files were refused at the door, by reason."""
    query = (
        select(ArrivalRow.error_code, func.count())
        .where(ArrivalRow.status == ArrivalStatus.REJECTED)
        .group_by(ArrivalRow.error_code)
    )
    return {code or "": count for code, count in session.execute(query)}
