"""What came in: submissions, arrivals, radiographs."""

from __future__ import annotations

import unicodedata
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, String, Text, text
from sqlalchemy import UniqueConstraint as Unique
from sqlalchemy.orm import Mapped, mapped_column

from core.tables.base import Base, Id, words
from core.tables.words import ArrivalStatus, Source


def folded(words: str) -> str:
    """Write words as they are compared when names are searched: upper and lower case are one."""
    return unicodedata.normalize("NFC", words).casefold()


def _own_name(context: Any) -> str:
    return folded(context.get_current_parameters()["name"])


class SubmissionRow(Base):
    """One upload, drop or command."""

    __tablename__ = "submissions"
    __table_args__ = (
        # Most have no name; those that have are looked through for one.
        Index("ix_submissions_named", "id", sqlite_where=text("name <> ''"), postgresql_where=text("name <> ''")),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(Text)  # given by a person; may be empty
    source: Mapped[Source] = mapped_column(words(Source))
    priority: Mapped[int]  # higher first
    tags: Mapped[list[str]]
    created_at: Mapped[datetime]


class ArrivalRow(Base):
    """One time that content came in. The same bytes again are a new arrival, never a second radiograph."""

    __tablename__ = "arrivals"
    __table_args__ = (
        Index(
            "ix_arrivals_unsettled",
            "id",
            sqlite_where=text("claim IS NOT NULL AND settled_at IS NULL"),
            postgresql_where=text("claim IS NOT NULL AND settled_at IS NULL"),
        ),
        Index(
            "ix_arrivals_rejected",
            "error_code",
            sqlite_where=text("status = 'rejected'"),
            postgresql_where=text("status = 'rejected'"),
        ),
        Index(
            "ix_arrivals_came_with",
            "came_with",
            sqlite_where=text("came_with IS NOT NULL"),
            postgresql_where=text("came_with IS NOT NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    submission_id: Mapped[int] = mapped_column(ForeignKey("submissions.id"), index=True)
    name: Mapped[str] = mapped_column(Text)  # as given, control characters replaced
    sha256: Mapped[str | None] = mapped_column(String(64), index=True)  # None: too large to be read
    bytes: Mapped[int] = mapped_column(BigInteger)
    status: Mapped[ArrivalStatus] = mapped_column(words(ArrivalStatus))
    error_code: Mapped[str | None] = mapped_column(String(64))
    error_words: Mapped[str | None] = mapped_column(Text)
    received_at: Mapped[datetime]
    claim: Mapped[str | None] = mapped_column(String(32), unique=True)  # the inbox's folder below processing/
    came_with: Mapped[str | None] = mapped_column(String(40))  # the inbox's archive or folder that it came in
    settled_at: Mapped[datetime | None]  # when the inbox moved the file to done/ or failed/


class RadiographRow(Base):
    """One distinct image. `name`, `source` and `received_at` are those of its first arrival."""

    __tablename__ = "radiographs"
    __table_args__ = (
        Unique("sha256", "frame"),
        Index("ix_radiographs_source", "source", "id"),
        Index(
            "ix_radiographs_stored_sha256",
            "stored_sha256",
            sqlite_where=text("stored_sha256 IS NOT NULL"),
            postgresql_where=text("stored_sha256 IS NOT NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64))  # of the content as it came
    frame: Mapped[int]  # page of a multi-page file, from 0
    media_type: Mapped[str] = mapped_column(String(64))
    width: Mapped[int]  # pixels, before any EXIF rotation
    height: Mapped[int]
    bit_depth: Mapped[int]
    bytes: Mapped[int] = mapped_column(BigInteger)
    storage_key: Mapped[str] = mapped_column(String(128))
    stored_sha256: Mapped[str | None] = mapped_column(String(64))  # None: it is stored as it came
    stored_bytes: Mapped[int | None] = mapped_column(BigInteger)  # likewise
    patient_key: Mapped[str | None] = mapped_column(String(32))  # a keyed hash, the same for all files of a patient
    about: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))  # what DICOM says of the picture
    name: Mapped[str] = mapped_column(Text)
    source: Mapped[Source] = mapped_column(words(Source))
    received_at: Mapped[datetime] = mapped_column(index=True)
    # Its names, those of later arrivals and of named submissions, folded, a line each; `core.records.names`.
    searched: Mapped[str] = mapped_column(Text, default=_own_name)
    original_deleted_at: Mapped[datetime | None]  # by `retention`; None: the store has it


class ArrivalRadiographRow(Base):
    """The radiographs that an arrival became: several for a file with several pages."""

    __tablename__ = "arrival_radiographs"

    arrival_id: Mapped[int] = mapped_column(ForeignKey("arrivals.id"), primary_key=True)
    radiograph_id: Mapped[int] = mapped_column(ForeignKey("radiographs.id"), primary_key=True, index=True)
