"""The tables, as SQLAlchemy 2 typed models. SQL is the truth; the broker only rings.

Times are UTC and aware. Identifiers are integers. `migrations/` builds the same tables; a test compares the two.
"""

from core.tables.base import Base, Id, UtcDateTime, table_of
from core.tables.likenesses import LikenessRow, LookAlikeRow
from core.tables.operations import ControlRow, CounterRow, EventRow, IdempotencyKeyRow, MinuteRow, WorkerRow
from core.tables.people import TokenRow, UserRow
from core.tables.radiographs import ArrivalRadiographRow, ArrivalRow, RadiographRow, SubmissionRow, folded
from core.tables.reviews import ReadingRow, ReviewRow
from core.tables.tallies import TallyRow
from core.tables.words import ENDED, FIRST, SECOND, ArrivalStatus, JobStatus, ReviewKind, Role, Source
from core.tables.work import JobRow, ModelVersionRow, PredictionRow, ScoreRow

__all__ = [
    "ENDED",
    "FIRST",
    "SECOND",
    "ArrivalRadiographRow",
    "ArrivalRow",
    "ArrivalStatus",
    "Base",
    "ControlRow",
    "CounterRow",
    "EventRow",
    "Id",
    "IdempotencyKeyRow",
    "JobRow",
    "JobStatus",
    "LikenessRow",
    "LookAlikeRow",
    "MinuteRow",
    "ModelVersionRow",
    "PredictionRow",
    "RadiographRow",
    "ReadingRow",
    "ReviewKind",
    "ReviewRow",
    "Role",
    "ScoreRow",
    "Source",
    "SubmissionRow",
    "TallyRow",
    "TokenRow",
    "UserRow",
    "UtcDateTime",
    "WorkerRow",
    "folded",
    "table_of",
]
