"""What models answered, added up by the day."""

from __future__ import annotations

import datetime
from typing import Any

from sqlalchemy import Date, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from core.tables.base import Base, Id


class TallyRow(Base):
    """A share of one model's day: every stored batch appends a row, `core.records.tallies.fold` adds rows up.

    Rows are never deleted otherwise, so that sums over all of them only grow, as counters of a monitor must.
    """

    __tablename__ = "tallies"
    __table_args__ = (Index("ix_tallies_model_version_id_day", "model_version_id", "day"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    model_version_id: Mapped[int] = mapped_column(ForeignKey("model_versions.id"))
    day: Mapped[datetime.date] = mapped_column(Date)  # UTC
    figures: Mapped[dict[str, Any]]  # as core.records.tallies.Tally writes them
