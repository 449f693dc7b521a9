"""The same radiograph in another dress: hashes to look it up by, and what was found."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Float, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from core.tables.base import Base

_UNSEEN = text("looked_at IS NULL")


class LikenessRow(Base):
    """A radiograph's perceptual hash, in four bands of 16 bits; `core.likeness` says why. Goes with its radiograph."""

    __tablename__ = "likenesses"
    __table_args__ = (
        *(Index(f"ix_likenesses_band_{place}", f"band_{place}", "radiograph_id") for place in range(4)),
        Index("ix_likenesses_unseen", "radiograph_id", sqlite_where=_UNSEEN, postgresql_where=_UNSEEN),
    )

    radiograph_id: Mapped[int] = mapped_column(ForeignKey("radiographs.id", ondelete="CASCADE"), primary_key=True)
    band_0: Mapped[int]
    band_1: Mapped[int]
    band_2: Mapped[int]
    band_3: Mapped[int]
    looked_at: Mapped[datetime | None]  # when look-alikes were looked for among those before it


class LookAlikeRow(Base):
    """Two radiographs that show the same, checked by their detail. A link for people; nothing is ever merged."""

    __tablename__ = "look_alikes"

    radiograph_id: Mapped[int] = mapped_column(ForeignKey("radiographs.id", ondelete="CASCADE"), primary_key=True)
    other_id: Mapped[int] = mapped_column(
        ForeignKey("radiographs.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    distance: Mapped[int]  # of the hashes, in bits
    likeness: Mapped[float] = mapped_column(Float)  # of the detail, at most 2
    found_at: Mapped[datetime]
