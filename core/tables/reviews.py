"""What people said of radiographs."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from core.tables.base import Base, Id, words
from core.tables.words import ReviewKind


class ReviewRow(Base):
    """What a person said of a radiograph, and what was on the screen then. Append-only: a change is another row."""

    __tablename__ = "reviews"
    __table_args__ = (
        Index("ix_reviews_reviewer", "reviewer", "id"),
        Index("ix_reviews_model_created_at", "model", "created_at"),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    radiograph_id: Mapped[int] = mapped_column(ForeignKey("radiographs.id"), index=True)
    reading: Mapped[int]  # FIRST or SECOND
    reviewer: Mapped[str] = mapped_column(String(128))
    kind: Mapped[ReviewKind] = mapped_column(words(ReviewKind))
    label: Mapped[str | None] = mapped_column(String(64))
    note: Mapped[str] = mapped_column(Text)
    model: Mapped[str | None] = mapped_column(String(200))  # NAME/VERSION whose answer was shown; None: none was
    shown: Mapped[str | None] = mapped_column(String(64))  # the label that was shown
    created_at: Mapped[datetime]


class ReadingRow(Base):
    """The review that stands for a radiograph's first or second reading: the newest one."""

    __tablename__ = "readings"
    __table_args__ = (Index("ix_readings_agreed", "reading", "agreed", "radiograph_id"),)

    radiograph_id: Mapped[int] = mapped_column(ForeignKey("radiographs.id"), primary_key=True)
    reading: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    review_id: Mapped[int] = mapped_column(ForeignKey("reviews.id"))
    reviewer: Mapped[str] = mapped_column(String(128))
    kind: Mapped[ReviewKind] = mapped_column(words(ReviewKind))
    label: Mapped[str | None] = mapped_column(String(64))
    agreed: Mapped[bool | None]  # whether the label is the one that was shown; None: no label, or none was shown
