"""Stand-ins and short ways to a state, for tests of single parts."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import struct
import time
import zlib
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from sqlalchemy import func, select, update

from core.answers import Answer
from core.bundle import ModelCard
from core.database import Database, now
from core.engines.outputs import Outputs
from core.pictures import Frame, ImageFacts
from core.preprocessing import GEOMETRY
from core.records.claims import Claim, Outcome, claim_waiting, store_outcomes
from core.records.deaths import Verdict, return_expired
from core.records.intake import Examined, Intake, Submission, record_intake
from core.schema import MIGRATIONS, expected_revision
from core.settings import Settings
from core.tables import ArrivalRow, EventRow, JobRow, JobStatus, PredictionRow, RadiographRow, Source

LABELS = ("greenstick", "oblique", "spiral")


def card_document(**changes: Any) -> dict[str, Any]:
    """The least that a card needs; `changes` replace whole fields, and None removes one."""
    document = {
        "name": "fracture-types",
        "version": "1.0.0",
        "title": "Fracture types",
        "task": "fracture-type",
        "labels": list(LABELS),
        "input": {"side": 32, "channels": 1, "geometry": GEOMETRY},
        "calibration": {"temperature": 1.0},
        "conformal": None,
        "doubt": None,
        "files": {},
        **changes,
    }
    return {name: value for name, value in document.items() if name not in changes or value is not None}


def make_card(**changes: Any) -> ModelCard:
    return ModelCard.from_document(card_document(**changes))


def write_bundle(models: Path, *, files: dict[str, bytes] | None = None, **changes: Any) -> Path:
    """Write a bundle whose card tells the truth about its files; return its folder."""
    contents = {"model.keras": b"weights", "model.tflite": b"compiled"} if files is None else files
    document: dict[str, Any] = card_document(
        **{"files": {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}, **changes}
    )
    folder = models / str(document["name"]) / str(document["version"])
    folder.mkdir(parents=True)
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    (folder / "card.json").write_text(json.dumps(document))
    return folder


class FakeClassifier:
    """A network in three lines: the brighter the picture, the more `spiral`. Follows `core.engines.protocol`."""

    engine = "fake 1"

    def __init__(
        self,
        card: ModelCard | None = None,
        *,
        trouble: Callable[[NDArray[np.uint8]], NDArray[np.float32] | None] | None = None,
    ) -> None:
        """Keep what to do.

        Args:
            card: Its card.
            trouble: Sees each batch first: may raise, or return an answer of its own; None: answer as usual.
        """
        self.card = card or make_card()
        self.batches: list[int] = []  # the sizes of the batches that were asked about
        self._trouble = trouble

    def run(self, batch: NDArray[np.uint8]) -> Outputs:
        self.batches.append(len(batch))
        if self._trouble is not None and (wrong := self._trouble(batch)) is not None:
            return Outputs(wrong)
        brightness = batch.reshape(len(batch), -1).mean(axis=1, keepdims=True) / 255
        logits = brightness * np.linspace(0, 4, len(self.card.labels))
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        return Outputs((weights / weights.sum(axis=1, keepdims=True)).astype(np.float32), 1 - brightness[:, 0])


def some_answer(label: str = "spiral", labels: Sequence[str] = LABELS) -> Answer:
    rest = 0.3 / (len(labels) - 1)
    scores = {each: 0.7 if each == label else rest for each in labels}
    return Answer(label=label, confidence=0.7, scores=scores, prediction_set=(label,), flags=())


def take_in(database: Database, *seeds: int, source: Source = Source.INBOX, priority: int | None = None) -> Intake:
    """Record radiographs that have no file, one job each for every active model."""
    facts = ImageFacts(media_type="image/png", frames=(Frame(width=8, height=8, bit_depth=8),))
    files = []
    for seed in seeds:
        digest = hashlib.sha256(str(seed).encode()).hexdigest()
        key = f"{digest[:2]}/{digest}"
        files.append(Examined(name=f"{seed}.png", bytes=64, sha256=digest, facts=facts, storage_key=key))
    with database.transaction() as session:
        return record_intake(session, Submission(source=source, priority=priority), files)


def claim(
    database: Database, *models: int, limit: int = 8, lease: float = 60, worker: str = "w@test:1"
) -> Claim | None:
    with database.transaction() as session:
        return claim_waiting(session, model_version_ids=models, limit=limit, lease_seconds=lease, worker=worker)


def claimed(database: Database, *models: int, limit: int = 8, lease: float = 60, worker: str = "w@test:1") -> Claim:
    taken = claim(database, *models, limit=limit, lease=lease, worker=worker)
    assert taken is not None
    return taken


def answered(taken: Claim) -> list[Outcome]:
    return [Outcome(job=job, answer=some_answer(), engine="fake 1", decode_ms=1, infer_ms=2) for job in taken.jobs]


def store(database: Database, taken: Claim, outcomes: Sequence[Outcome]) -> list[Outcome]:
    with database.transaction() as session:
        return store_outcomes(session, taken, outcomes, "w@test:1")


def jobs_of(database: Database) -> list[JobRow]:
    with database.reading() as session:
        return list(session.scalars(select(JobRow).order_by(JobRow.id)))


def predictions(database: Database) -> int:
    with database.reading() as session:
        return session.scalar(select(func.count()).select_from(PredictionRow)) or 0


def event_kinds(database: Database, radiograph_id: int | None = None) -> list[str]:
    with database.reading() as session:
        query = select(EventRow.kind).order_by(EventRow.id)
        return list(session.scalars(query.where(EventRow.radiograph_id == radiograph_id) if radiograph_id else query))


def let_leases_run_out(database: Database) -> None:
    with database.transaction() as session:
        past = now(session) - timedelta(seconds=1)
        session.execute(update(JobRow).where(JobRow.status == JobStatus.RUNNING).values(lease_until=past))


def die(database: Database) -> dict[int, Verdict]:
    """Whatever worker holds something dies, and the reconciler finds out."""
    let_leases_run_out(database)
    with database.transaction() as session:
        return return_expired(session, "reconciler")


def let_days_pass(settings: Settings, database: Database, days: float) -> None:
    """Let everything that is there look so much older."""
    with database.transaction() as session:
        past = now(session) - timedelta(days=days)
        session.execute(update(RadiographRow).values(received_at=past))
        session.execute(update(ArrivalRow).values(received_at=past))
    assert settings.store_path is not None
    for path in settings.store_path.rglob("*"):
        os.utime(path, (time.time() - days * 86400,) * 2)


def with_next_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the program know one step more."""
    shutil.copytree(MIGRATIONS, tmp_path / "migrations")
    (tmp_path / "migrations" / "versions" / "next.py").write_text(
        f"revision = 'next'\ndown_revision = {expected_revision()!r}\n\n\n"
        "def upgrade():\n    pass\n\n\ndef downgrade():\n    pass\n"
    )
    monkeypatch.setattr("core.schema.MIGRATIONS", tmp_path / "migrations")


def raising(number: int) -> Callable[..., Any]:
    """Stand in for a call to the system that fails with this error number."""

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number))

    return fail


def saved(picture: Image.Image, form: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, form, **options)
    return stream.getvalue()


def black_png(width: int, height: int, *, rows_at_once: int = 1000, depth: int = 8, colours: int = 1) -> bytes:
    """A well-formed black PNG of any size, grey or (with four colours) RGBA, made without its pixels in memory."""
    rows = zlib.compressobj(9, zlib.DEFLATED, -15)
    row = b"\0" * (width * colours * depth // 8 + 1)
    block = rows.compress(row * rows_at_once) + rows.flush(zlib.Z_FULL_FLUSH)
    rest = zlib.compressobj(9, zlib.DEFLATED, -15)
    last = rest.compress(row * (height % rows_at_once)) + rest.flush()
    checksum = (len(row) * height % 65521) << 16 | 1  # Adler-32 of zeros
    data = b"\x78\xda" + block * (height // rows_at_once) + last + struct.pack(">I", checksum)
    header = struct.pack(">IIBBBBB", width, height, depth, 6 if colours == 4 else 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


def tiff(levels: NDArray[Any], *, white_is_zero: bool = False, orientation: int = 1) -> bytes:
    """An uncompressed TIFF with exactly these samples, in either byte order; Pillow would mend them while saving."""
    order = ">" if levels.dtype.byteorder == ">" else "<"
    kind = {"u": 1, "i": 2, "f": 3}[levels.dtype.kind]
    body = levels.tobytes()
    height, width = levels.shape
    long, short = 4, 3
    tags = {
        256: (long, width),
        257: (long, height),
        258: (short, levels.dtype.itemsize * 8),
        259: (short, 1),
        262: (short, 0 if white_is_zero else 1),
        273: (long, 8),
        274: (short, orientation),
        277: (short, 1),
        278: (long, height),
        279: (long, len(body)),
        339: (short, kind),
    }
    entries = b"".join(
        struct.pack(f"{order}HHI", tag, form, 1) + struct.pack(order + ("I" if form == long else "Hxx"), value)
        for tag, (form, value) in tags.items()
    )
    mark = b"II*\0" if order == "<" else b"MM\0*"
    end = struct.pack(f"{order}H", len(tags)) + entries + struct.pack(f"{order}I", 0)
    return mark + struct.pack(f"{order}I", 8 + len(body)) + body + end
