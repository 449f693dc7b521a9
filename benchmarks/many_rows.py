"""A database as it is after years: any number of radiographs with answers, scores and what else belongs to them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from sqlalchemy import insert

from core.database import Database
from core.tables import Base, ModelVersionRow
from training.labels import labels_of_task

#: Rows that are written at once.
_CHUNK = 20_000
#: Radiographs in one submission.
_DROP = 1_000
_EPOCH = datetime(2024, 1, 1, tzinfo=UTC)
#: Between two radiographs; a million of them span about two years.
_APART = timedelta(seconds=60)
LABELS = labels_of_task("fracture-type")
_SOURCES = ("inbox", "inbox", "inbox", "web", "api", "command")


def fill(database: Database, count: int, *, advance: Callable[[int], None] = lambda _: None) -> None:
    """Write that many radiographs, each with a done job, an answer and ten scores; one in 500 has failed.

    Args:
        database: Migrated and empty.
        count: Radiographs.
        advance: Is told how many more are written.
    """
    with database.transaction() as session:
        session.add(
            ModelVersionRow(
                id=1,
                name="benchmark",
                version="1.0.0",
                task="fracture-type",
                sha256="0" * 64,
                card={},
                installed=True,
                active=True,
                created_at=_EPOCH,
            )
        )
    for start in range(0, count, _CHUNK):
        size = min(_CHUNK, count - start)
        _write(database, start, size)
        advance(size)


def _write(database: Database, start: int, size: int) -> None:
    generator = np.random.default_rng(start)
    probabilities = np.sort(generator.dirichlet(np.full(len(LABELS), 0.4), size), axis=1)[:, ::-1].round(6)
    order = np.argsort(generator.random((size, len(LABELS))), axis=1)
    rows: dict[str, list[dict[str, Any]]] = {
        name: []
        for name in ("submissions", "arrivals", "radiographs", "arrival_radiographs", "jobs", "predictions", "scores")
    }
    for place in range(size):
        number = start + place + 1
        at = _EPOCH + number * _APART
        digest = hashlib.sha256(str(number).encode()).hexdigest()
        submission = (number - 1) // _DROP + 1
        source = _SOURCES[submission % len(_SOURCES)]
        failed = number % 500 == 0
        if (number - 1) % _DROP == 0:
            rows["submissions"].append(
                {"id": submission, "name": "", "source": source, "priority": 0, "tags": [], "created_at": at}
            )
        name = f"radiograph-{number:07d}.jpg"
        rows["arrivals"].append(
            {
                "id": number,
                "submission_id": submission,
                "name": name,
                "sha256": digest,
                "bytes": 50_000,
                "status": "accepted",
                "received_at": at,
            }
        )
        rows["radiographs"].append(
            {
                "id": number,
                "sha256": digest,
                "frame": 0,
                "media_type": "image/jpeg",
                "width": 512,
                "height": 640,
                "bit_depth": 8,
                "bytes": 50_000,
                "storage_key": f"{digest[:2]}/{digest}",
                "name": name,
                "source": source,
                "received_at": at,
            }
        )
        rows["arrival_radiographs"].append({"arrival_id": number, "radiograph_id": number})
        rows["jobs"].append(
            {
                "id": number,
                "radiograph_id": number,
                "model_version_id": 1,
                "status": "failed" if failed else "done",
                "priority": 0,
                "attempts": 1,
                "deaths": 0,
                "deaths_alone": 0,
                "alone": False,
                "available_at": at,
                "error_code": "unreadable-image" if failed else None,
                "error_words": "The picture data are damaged." if failed else None,
                "created_at": at,
                "started_at": at,
                "finished_at": at + timedelta(seconds=1),
            }
        )
        if failed:
            continue
        labels = [LABELS[index] for index in order[place]]
        rows["predictions"].append(
            {
                "id": number,
                "radiograph_id": number,
                "model_version_id": 1,
                "label": labels[0],
                "confidence": float(probabilities[place, 0]),
                "prediction_set": labels[:3],
                "flags": [],
                "engine": "litert",
                "waited_ms": 5.0,
                "decode_ms": 3.0,
                "infer_ms": 9.0,
                "created_at": at + timedelta(seconds=1),
            }
        )
        rows["scores"].extend(
            {"prediction_id": number, "label": label, "probability": float(probability)}
            for label, probability in zip(labels, probabilities[place], strict=True)
        )
    tables = Base.metadata.tables
    with database.transaction() as session:
        for name, found in rows.items():
            if found:
                session.execute(insert(tables[name]), found)
