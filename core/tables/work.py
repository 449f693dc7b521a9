"""Models, the work they have, and their answers."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Float, ForeignKey, Index, LargeBinary, String, Text, text
from sqlalchemy import UniqueConstraint as Unique
from sqlalchemy.orm import Mapped, mapped_column

from core.tables.base import Base, Id, words
from core.tables.words import JobStatus


class ModelVersionRow(Base):
    """One bundle. `sha256` of its card is its identity."""

    __tablename__ = "model_versions"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(128), index=True)
    version: Mapped[str] = mapped_column(String(64))
    task: Mapped[str] = mapped_column(String(32))
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    card: Mapped[dict[str, Any]]
    installed: Mapped[bool]  # its bundle was there when last looked for
    active: Mapped[bool]  # new radiographs are classified by it
    created_at: Mapped[datetime]


class JobRow(Base):
    """The work: one model's look at one radiograph."""

    __tablename__ = "jobs"
    __table_args__ = (
        Unique("radiograph_id", "model_version_id"),
        Index(
            "ix_jobs_waiting",
            text("priority DESC"),
            "id",
            sqlite_where=text("status = 'waiting'"),
            postgresql_where=text("status = 'waiting'"),
        ),
        Index(
            "ix_jobs_leased",
            "lease_until",
            sqlite_where=text("status = 'running'"),
            postgresql_where=text("status = 'running'"),
        ),
        Index("ix_jobs_lease_token", "lease_token"),
        Index("ix_jobs_status", "status", "error_code"),
        Index("ix_jobs_results", "model_version_id", "status", "radiograph_id"),
        Index("ix_jobs_status_created", "status", "created_at"),
        Index("ix_jobs_status_finished", "status", "finished_at"),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    radiograph_id: Mapped[int] = mapped_column(ForeignKey("radiographs.id"))
    model_version_id: Mapped[int] = mapped_column(ForeignKey("model_versions.id"))
    status: Mapped[JobStatus] = mapped_column(words(JobStatus))
    priority: Mapped[int]
    attempts: Mapped[int] = mapped_column(default=0)  # counted before the work starts
    deaths: Mapped[int] = mapped_column(default=0)  # attempts that ended without a word
    deaths_alone: Mapped[int] = mapped_column(default=0)  # those of them that had no batch mates
    alone: Mapped[bool] = mapped_column(default=False)  # the claim in hand has no batch mates
    available_at: Mapped[datetime]  # waiting work is not claimed before this
    rung_at: Mapped[datetime | None]  # when a bell was last rung for it
    lease_until: Mapped[datetime | None]
    lease_token: Mapped[str | None] = mapped_column(String(32))
    worker: Mapped[str | None] = mapped_column(String(128))  # who holds it, or held it last
    error_code: Mapped[str | None] = mapped_column(String(64))
    error_words: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]  # of the last attempt
    finished_at: Mapped[datetime | None]


class PredictionRow(Base):
    """A model's answer; never changed. Research and education only, never a diagnosis."""

    __tablename__ = "predictions"
    __table_args__ = (
        Unique("radiograph_id", "model_version_id"),
        # core/records/candidates.py says how a page of results walks these.
        Index("ix_predictions_label", "model_version_id", "label", "radiograph_id", "confidence"),
        Index("ix_predictions_label_confidence", "model_version_id", "label", "confidence", "radiograph_id"),
        Index("ix_predictions_confidence", "model_version_id", "confidence", "radiograph_id"),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    radiograph_id: Mapped[int] = mapped_column(ForeignKey("radiographs.id"))
    model_version_id: Mapped[int] = mapped_column(ForeignKey("model_versions.id"))
    label: Mapped[str] = mapped_column(String(64))
    confidence: Mapped[float] = mapped_column(Float)  # calibrated probability of the label
    prediction_set: Mapped[list[str]]
    flags: Mapped[list[str]]
    engine: Mapped[str] = mapped_column(String(64))
    waited_ms: Mapped[float] = mapped_column(Float)  # from the job's creation to this attempt's start
    decode_ms: Mapped[float] = mapped_column(Float)  # reading, decoding and resizing
    infer_ms: Mapped[float] = mapped_column(Float)  # this radiograph's share of the batch
    activation: Mapped[bytes | None] = mapped_column(LargeBinary)  # see core/activation.py
    created_at: Mapped[datetime]


class ScoreRow(Base):
    """One class of one prediction, so that SQL can ask for P(spiral) > 0.3."""

    __tablename__ = "scores"
    __table_args__ = (Index("ix_scores_label", "label", "probability"),)

    prediction_id: Mapped[int] = mapped_column(ForeignKey("predictions.id"), primary_key=True)
    label: Mapped[str] = mapped_column(String(64), primary_key=True)
    probability: Mapped[float] = mapped_column(Float)
