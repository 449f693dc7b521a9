"""What a backup holds: written last and whole, so that a folder without it is no backup."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from core.errors import BackupRefused
from core.storage import sync_folder

FILE_NAME = "manifest.json"
#: Rises when an older program could not read a newer backup's folder.
_FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """One backup."""

    made_at: str  # ISO 8601, UTC
    program: str  # version
    revision: str  # of the database's tables
    database: str  # the kind that it was copied from: sqlite or postgresql
    snapshot: str  # the file's name
    snapshot_sha256: str
    snapshot_bytes: int
    rows: dict[str, int]  # by table
    originals: int  # files that the snapshot names and the folder holds
    original_bytes: int
    missing_originals: int  # files that the snapshot names and the store had lost
    bundles: list[str]  # NAME/VERSION
    keys: list[str]  # files of the home folder

    def write(self, folder: Path) -> None:
        """Write it in one step; what was there before is replaced or stays."""
        text = json.dumps({"format": _FORMAT, **asdict(self)}, indent=2) + "\n"
        temporary = folder / f".{FILE_NAME}.{secrets.token_hex(8)}"
        with temporary.open("x", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(folder / FILE_NAME)
        sync_folder(folder)

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read a backup's manifest.

        Raises:
            BackupRefused: There is none, or it cannot be read.
        """
        try:
            document = json.loads((folder / FILE_NAME).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise BackupRefused(
                f"There is no whole backup in {folder}: {FILE_NAME}, which is written last, is missing."
            ) from None
        except (OSError, ValueError) as error:
            raise BackupRefused(f"{folder / FILE_NAME} cannot be read: {error}.") from error
        try:
            if document.pop("format") != _FORMAT:
                raise BackupRefused(f"The backup in {folder} was written by a newer program in another form.")
            return cls(**document)
        except (AttributeError, KeyError, TypeError) as error:
            raise BackupRefused(f"{folder / FILE_NAME} is no manifest of a backup.") from error
