"""The tables, as SQLAlchemy 2 typed models. SQL is the truth; the broker only rings.

Times are UTC and aware. Identifiers are integers. `migrations/` builds the same tables; a test compares the two.
"""

from __future__ import annotations

import enum
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Enum,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    text,
)
from sqlalchemy import UniqueConstraint as Unique
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

#: SQLite numbers rows by itself only in a column of the type INTEGER.
Id = BigInteger().with_variant(Integer, "sqlite")


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC time on every database; SQLite itself knows no time zones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse naive times, which would be read as somebody's local time."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a time without a time zone: {value!r}")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Give SQLite's times their zone back."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class JobStatus(enum.StrEnum):
    r"""Where a job stands.

    waiting --claim--> running --answer--> done
       ^  |               |  \--the file's fault or a bug--> failed
       |  |               |   \--third unexplained death--> quarantined
       |  \--cancel--> cancelled
       \--lease ran out, polite stop, passing cause--/
       \--retry, from failed, quarantined and cancelled
    """

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    QUARANTINED = "quarantined"
    CANCELLED = "cancelled"


#: Nothing more happens to these without a person.
ENDED = (JobStatus.DONE, JobStatus.FAILED, JobStatus.QUARANTINED, JobStatus.CANCELLED)


class ArrivalStatus(enum.StrEnum):
    """What the door said."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"


class Source(enum.StrEnum):
    """Which door a radiograph came through."""

    INBOX = "inbox"
    WEB = "web"
    API = "api"
    COMMAND = "command"


#: Readings: the first sees the model's answer, the second is another person's, who sees neither that nor the first.
FIRST, SECOND = 1, 2


class ReviewKind(enum.StrEnum):
    """What a reader said."""

    LABELLED = "labelled"  # with the label
    UNSURE = "unsure"
    WITHDRAWN = "withdrawn"  # the review before it does not stand any more


class Role(enum.StrEnum):
    """What a person or a program may do: each may what those before it may, and more."""

    VIEWER = "viewer"  # looks
    REVIEWER = "reviewer"  # uploads, reviews, retries
    ADMIN = "admin"  # everything

    def covers(self, least: Role) -> bool:
        """Whether this role may what `least` may; compared as words, roles would follow the alphabet."""
        order = list(Role)
        return order.index(self) >= order.index(least)


def _words(kind: type[enum.StrEnum]) -> Enum:
    """Store an enum as its words, without a database type that every new word would have to migrate."""
    return Enum(
        kind, native_enum=False, length=16, values_callable=lambda members: [member.value for member in members]
    )


class Base(DeclarativeBase):
    """Holds the metadata of all tables."""

    # SQLite changes constraints only by their names.
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: UtcDateTime(), dict[str, Any]: JSON(), list[str]: JSON()}


class SubmissionRow(Base):
    """One upload, drop or command."""

    __tablename__ = "submissions"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(Text)  # given by a person; may be empty
    source: Mapped[Source] = mapped_column(_words(Source))
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
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    submission_id: Mapped[int] = mapped_column(ForeignKey("submissions.id"), index=True)
    name: Mapped[str] = mapped_column(Text)  # as given, control characters replaced
    sha256: Mapped[str | None] = mapped_column(String(64), index=True)  # None: too large to be read
    bytes: Mapped[int] = mapped_column(BigInteger)
    status: Mapped[ArrivalStatus] = mapped_column(_words(ArrivalStatus))
    error_code: Mapped[str | None] = mapped_column(String(64))
    error_words: Mapped[str | None] = mapped_column(Text)
    received_at: Mapped[datetime]
    claim: Mapped[str | None] = mapped_column(String(32), unique=True)  # the inbox's folder below processing/
    settled_at: Mapped[datetime | None]  # when the inbox moved the file to done/ or failed/


class RadiographRow(Base):
    """One distinct image. `name`, `source` and `received_at` are those of its first arrival."""

    __tablename__ = "radiographs"
    __table_args__ = (Unique("sha256", "frame"), Index("ix_radiographs_source", "source", "id"))

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64))  # of the content as it came
    frame: Mapped[int]  # page of a multi-page file, from 0
    media_type: Mapped[str] = mapped_column(String(64))
    width: Mapped[int]  # pixels, before any EXIF rotation
    height: Mapped[int]
    bit_depth: Mapped[int]
    bytes: Mapped[int] = mapped_column(BigInteger)
    storage_key: Mapped[str] = mapped_column(String(128))
    name: Mapped[str] = mapped_column(Text)
    source: Mapped[Source] = mapped_column(_words(Source))
    received_at: Mapped[datetime] = mapped_column(index=True)


class ArrivalRadiographRow(Base):
    """The radiographs that an arrival became: several for a file with several pages."""

    __tablename__ = "arrival_radiographs"

    arrival_id: Mapped[int] = mapped_column(ForeignKey("arrivals.id"), primary_key=True)
    radiograph_id: Mapped[int] = mapped_column(ForeignKey("radiographs.id"), primary_key=True, index=True)


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
    status: Mapped[JobStatus] = mapped_column(_words(JobStatus))
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


class ReviewRow(Base):
    """What a person said of a radiograph, and what was on the screen then. Append-only: a change is another row."""

    __tablename__ = "reviews"
    __table_args__ = (Index("ix_reviews_reviewer", "reviewer", "id"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    radiograph_id: Mapped[int] = mapped_column(ForeignKey("radiographs.id"), index=True)
    reading: Mapped[int]  # FIRST or SECOND
    reviewer: Mapped[str] = mapped_column(String(128))
    kind: Mapped[ReviewKind] = mapped_column(_words(ReviewKind))
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
    kind: Mapped[ReviewKind] = mapped_column(_words(ReviewKind))
    label: Mapped[str | None] = mapped_column(String(64))
    agreed: Mapped[bool | None]  # whether the label is the one that was shown; None: no label, or none was shown


class EventRow(Base):
    """The audit trail: what happened to what, when, by whom. Append-only."""

    __tablename__ = "events"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    at: Mapped[datetime]
    kind: Mapped[str] = mapped_column(String(32))
    actor: Mapped[str] = mapped_column(String(128))
    radiograph_id: Mapped[int | None] = mapped_column(Id, index=True)
    job_id: Mapped[int | None] = mapped_column(Id)
    arrival_id: Mapped[int | None] = mapped_column(Id)
    detail: Mapped[dict[str, Any]]


class WorkerRow(Base):
    """A heartbeat: one process, what it holds and since when."""

    __tablename__ = "workers"

    name: Mapped[str] = mapped_column(String(128), primary_key=True)  # role@host:pid
    role: Mapped[str] = mapped_column(String(16))  # worker, inbox
    host: Mapped[str] = mapped_column(String(128))
    pid: Mapped[int]
    engine: Mapped[str] = mapped_column(String(64))
    started_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    holds: Mapped[int]  # jobs in hand
    held_since: Mapped[datetime | None]
    memory_bytes: Mapped[int] = mapped_column(BigInteger)


class CounterRow(Base):
    """A share of a count that triggers keep: the count of a name is the sum of its changes.

    SQLite, which has one writer at a time, keeps one row a name. PostgreSQL appends a row a statement, so that
    transactions never wait for each other's count, and `core.records.counters.fold` adds rows up.
    """

    __tablename__ = "counters"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(64))  # the table and the status: "jobs waiting"
    change: Mapped[int] = mapped_column(BigInteger)


class UserRow(Base):
    """A person who signs in. Rows are never deleted: the audit trail names them."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    role: Mapped[Role] = mapped_column(_words(Role))
    password_hash: Mapped[str] = mapped_column(Text)  # argon2id with its parameters and salt
    created_at: Mapped[datetime]
    disabled_at: Mapped[datetime | None]  # cannot sign in since then
    sessions_from: Mapped[datetime]  # sessions that began earlier are void


class TokenRow(Base):
    """A program's key to the API. The key itself is kept nowhere."""

    __tablename__ = "tokens"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    role: Mapped[Role] = mapped_column(_words(Role))
    sha256: Mapped[str] = mapped_column(String(64), unique=True)  # of the key
    created_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]  # to the minute
    revoked_at: Mapped[datetime | None]
