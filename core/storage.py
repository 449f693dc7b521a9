"""The store of originals: content-addressed files, written whole or not at all."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path

from core.errors import ConfigurationError, StoreUnavailable

_SHA256 = re.compile(r"[0-9a-f]{64}")
_KEY = re.compile(r"[0-9a-f]{2}/[0-9a-f]{64}")


class FolderStore:
    """Originals in a local or shared folder: `ab/abcd...`, named by the sha256 of their content.

    256 folders: with ten million originals each holds 40,000, which file systems of today find as fast as four, while a
    second level would be a new folder, and its sync, for nearly every one of the first 65,536.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def at(cls, url: str) -> FolderStore:
        """Open the store that a `file://` address names.

        Raises:
            ConfigurationError: It is no such address.
        """
        if not url.startswith("file:///"):
            raise ConfigurationError(f"FRACTURE_STORE_URL={url!r} is no file:// address with an absolute path.")
        return cls(Path(url.removeprefix("file://")))

    def put(self, data: bytes, sha256: str) -> str:
        """Keep one original; the same content again costs nothing.

        Returns:
            Its storage key. When this returns, the content is on the disk.

        Raises:
            StoreUnavailable: The disk is full, or the folder cannot be written.
        """
        if not _SHA256.fullmatch(sha256):
            raise ValueError(f"no sha256: {sha256!r}")
        key = f"{sha256[:2]}/{sha256}"
        target = self.folder / key
        temporary = self.folder / "incoming" / secrets.token_hex(16)
        try:
            if target.is_file() and target.stat().st_size == len(data):
                return key
            temporary.parent.mkdir(parents=True, exist_ok=True)
            made = _make_folders(target.parent)
            try:
                with temporary.open("xb") as stream:
                    stream.write(data)
                    stream.flush()
                    os.fsync(stream.fileno())
                temporary.replace(target)
            finally:
                temporary.unlink(missing_ok=True)
            for folder in (target.parent, *(each.parent for each in made)):
                _sync_folder(folder)
        except OSError as error:
            raise StoreUnavailable(f"The original cannot be stored in {self.folder}: {error.strerror}.") from error
        return key

    def get(self, key: str) -> bytes:
        """Return one original.

        Raises:
            StoreUnavailable: It is missing or cannot be read.
        """
        try:
            return self.path(key).read_bytes()
        except OSError as error:
            raise StoreUnavailable(f"The original {key} cannot be read: {error.strerror}.") from error

    def path(self, key: str) -> Path:
        """Return where an original lies.

        Raises:
            ValueError: The key is none that `put` gave.
        """
        if not _KEY.fullmatch(key):
            raise ValueError(f"no storage key: {key!r}")
        return self.folder / key


def _make_folders(folder: Path) -> list[Path]:
    """Make a folder and those above it as far as they are missing; return those that were."""
    if folder.is_dir():
        return []
    made = _make_folders(folder.parent)
    folder.mkdir(exist_ok=True)
    return [*made, folder]


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
