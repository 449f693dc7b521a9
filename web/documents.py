"""The JSON API's shapes. Keys are a contract: they are added to, never renamed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from flask import url_for

from core.records.details import CameIn, ModelAnswer, RadiographFacts
from core.records.models import ModelVersion
from core.records.results import Result
from core.records.submissions import FileState, SubmissionState


def submission_document(submission: SubmissionState) -> dict[str, Any]:
    """One upload and where each of its files stands; also the answer to an upload."""
    return {
        "submission": submission.id,
        "name": submission.name,
        "source": submission.source.value,
        "created_at": submission.created_at.isoformat(),
        "url": url_for("api.get_submission", submission_id=submission.id),
        "page": url_for("upload.submission_page", submission_id=submission.id),
        "unfinished": submission.unfinished,
        "files": [_file_document(file) for file in submission.files],
    }


def _file_document(file: FileState) -> dict[str, Any]:
    return {
        "arrival": file.arrival_id,
        "name": file.name,
        "status": file.status.value,
        "duplicate": file.duplicate,
        "radiographs": [result.id for result in file.results],
        "urls": [url_for("api.get_one", radiograph_id=result.id) for result in file.results],
        "error": file.error,
        "results": [
            {
                "id": result.id,
                "status": None if result.status is None else result.status.value,
                "label": result.label,
                "confidence": result.confidence,
                "flags": result.flags,
                "model": result.model,
                "error": result.error,
                "unfinished": result.unfinished,
                "fracture": None if result.fracture is None else result.fracture.document(),
                "page": url_for("radiograph.radiograph_page", radiograph_id=result.id),
                "image": url_for("images.get_image", radiograph_id=result.id),
            }
            for result in file.results
        ],
    }


def listed_document(result: Result) -> dict[str, Any]:
    """One radiograph in a list."""
    return {**result.document(), "url": url_for("api.get_one", radiograph_id=result.id)}


def radiograph_document(
    result: Result, facts: RadiographFacts, answers: list[ModelAnswer], arrivals: list[CameIn]
) -> dict[str, Any]:
    """One radiograph with everything known of it."""
    return {
        **listed_document(result),
        "image": url_for("images.get_image", radiograph_id=result.id),
        "media_type": facts.media_type,
        "width": facts.width,
        "height": facts.height,
        "bit_depth": facts.bit_depth,
        "bytes": facts.bytes,
        "models": [_answer_document(answer) for answer in answers],
        "arrivals": [
            {
                "id": arrival.arrival_id,
                "submission": arrival.submission_id,
                "source": arrival.source.value,
                "name": arrival.name,
                "received_at": arrival.received_at.isoformat(),
            }
            for arrival in arrivals
        ],
    }


def _answer_document(answer: ModelAnswer) -> dict[str, Any]:
    given = answer.prediction
    return {
        "model": answer.model,
        "task": answer.task,
        "card_sha256": answer.card_sha256,
        "active": answer.active,
        "status": answer.status.value,
        "label": given.label if given else None,
        "confidence": given.confidence if given else None,
        "scores": dict(given.scores) if given else {},
        "prediction_set": list(given.prediction_set) if given else [],
        "flags": list(given.flags) if given else [],
        "engine": given.engine if given else None,
        "waited_ms": given.waited_ms if given else None,
        "decode_ms": given.decode_ms if given else None,
        "infer_ms": given.infer_ms if given else None,
        "attempts": answer.attempts,
        "deaths": answer.deaths,
        "worker": answer.worker,
        "created_at": answer.created_at.isoformat(),
        "started_at": _time(answer.started_at),
        "finished_at": _time(answer.finished_at),
        "error": answer.error,
    }


def model_document(version: ModelVersion, card: Mapping[str, Any]) -> dict[str, Any]:
    """One model version with its card."""
    return {
        "model": version.full_name,
        "name": version.name,
        "version": version.version,
        "task": version.task,
        "card_sha256": version.sha256,
        "installed": version.installed,
        "active": version.active,
        "labels": list(card.get("labels", ())),
        "card": dict(card),
    }


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
