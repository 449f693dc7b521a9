"""Errors, named for what to do next.

A subclass is mostly its docstring: the first line is also the default message. Every message is a sentence
for a person. `web` maps the classes to HTTP answers, `cli` to exit codes, `worker` to a retry or a failed row.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from inspect import cleandoc


class FractureError(Exception):
    """Something went wrong in Fracture Queue."""

    #: Stored with failed rows and sent in JSON answers; short, stable, lower case.
    code: str = "error"

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or cleandoc(self.__doc__ or "").splitlines()[0])


class ConfigurationError(FractureError):
    """A setting is missing or wrong.

    Nothing starts; the command line ends with exit code 2.
    """

    code = "configuration"

    @classmethod
    def of(cls, problems: Sequence[str]) -> ConfigurationError:
        """Name all problems at once, so that one run shows everything to mend."""
        return cls(" ".join(problems))


class SchemaMismatch(ConfigurationError):
    """The database's tables are older or newer than this program; run `fracture-queue migrate`."""

    code = "schema"


class RejectedImage(FractureError):
    """The file cannot be used as a radiograph. The file's fault: it is not tried again."""

    code = "rejected"


class EmptyFile(RejectedImage):
    """The file is empty (0 bytes)."""

    code = "empty"


class UnreadableImage(RejectedImage):
    """The file is damaged and cannot be decoded."""

    code = "unreadable"


class UnsupportedFormat(RejectedImage):
    """The file is not a JPEG, PNG, BMP, TIFF, WebP or DICOM image."""

    code = "unsupported"


class WrongModality(RejectedImage):
    """The file is sound, but shows no radiograph: another kind of examination."""

    code = "wrong-modality"


class UnsafeArchive(RejectedImage):
    """The archive becomes far larger unpacked than any set of radiographs; it is not opened."""

    code = "unsafe-archive"


class ImageTooLarge(RejectedImage):
    """The file or its picture is larger than this installation accepts."""

    code = "too-large"


class TooMuchMemory(RejectedImage):
    """The picture needs more memory than this installation allows."""

    code = "too-much-memory"


class Unavailable(FractureError):
    """A part that this work needs is away for the moment. Passing: tried again with a growing pause."""

    code = "unavailable"


class DatabaseUnavailable(Unavailable):
    """The database does not answer."""

    code = "database-unavailable"


class BrokerUnavailable(Unavailable):
    """The message broker (Redis) does not answer; accepted work waits in the database."""

    code = "broker-unavailable"


class StoreUnavailable(Unavailable):
    """The store of originals cannot be read or written."""

    code = "store-unavailable"


class NoActiveModel(Unavailable):
    """No model is active, so nothing can be classified; see `fracture-queue models list`."""

    code = "no-active-model"


class IntakePaused(Unavailable):
    """The intake is paused; nothing is taken until it is resumed."""

    code = "intake-paused"


class ModelError(FractureError):
    """A model bundle is unusable. Our fault, never the file's: the worker refuses to start."""

    code = "model"


class ModelNotFound(ModelError):
    """There is no such model bundle."""

    code = "model-not-found"


class ModelMismatch(ModelError):
    """A model's card and its files disagree."""

    code = "model-mismatch"


def passing_codes() -> frozenset[str]:
    """Return the codes of causes that pass by themselves."""
    found, kinds = set(), [Unavailable]
    while kinds:
        kind = kinds.pop()
        found.add(kind.code)
        kinds += kind.__subclasses__()
    return frozenset(found)


class AccountRefused(FractureError):
    """A user or a token cannot be made or changed that way."""

    code = "account"


class BackupRefused(FractureError):
    """This folder cannot be used as a backup, or this installation cannot be filled from one."""

    code = "backup"


class NotFound(FractureError):
    """There is no such record."""

    code = "not-found"


class NotAnswered(FractureError):
    """There is no result yet: some model still has to answer."""

    code = "not-answered"


class OriginalDeleted(FractureError):
    """The original of this radiograph was deleted; its answers and reviews stay. Sent in again, it is back."""

    code = "original-deleted"

    @classmethod
    def of(cls, radiograph_id: int, deleted_at: datetime) -> OriginalDeleted:
        """Say which and when."""
        return cls(
            f"The original of radiograph {radiograph_id} was deleted on {deleted_at:%Y-%m-%d}; its answers and reviews "
            "stay. Sent in again, it is back."
        )


class OriginalAltered(FractureError):
    """The stored original is not what came in; `fracture-queue doctor --deep --fix` mends it where a copy is left."""

    code = "original-altered"


class Conflict(FractureError):
    """What this was based on has changed meanwhile; look again."""

    code = "conflict"


class ModelNotInstalled(Conflict):
    """The model's bundle is not installed here, so nothing can run it."""

    code = "model-not-installed"


class ReviewConflict(Conflict):
    """Somebody reviewed this radiograph meanwhile; nothing was changed."""

    code = "review-conflict"


class SameReader(Conflict):
    """A second reading has to come from somebody else than the first."""

    code = "same-reader"


class NoFirstReading(Conflict):
    """This radiograph has no first reading yet, so it cannot have a second."""

    code = "no-first-reading"


class KeyInUse(Conflict):
    """The first request with this Idempotency-Key still runs; ask again in a moment."""

    code = "key-in-use"


class KeyReused(FractureError):
    """This Idempotency-Key was sent with something else before; use a new key for other content."""

    code = "key-reused"
