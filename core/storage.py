"""The store of originals: content-addressed files, written whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

from core.errors import ConfigurationError, StoreUnavailable

_SHA256 = re.compile(r"[0-9a-f]{64}")
#: What some network shares answer, which sync a file but no folder.
_NO_SYNC = (errno.EINVAL, errno.ENOTSUP)
_KEY = re.compile(r"[0-9a-f]{2}/[0-9a-f]{64}")


class FolderStore:
    """Originals in a local or shared folder: `ab/abcd...`, named by the sha256 of their content.

    256 folders: with ten million originals each holds 40,000. A second level would be a new folder, and its sync, for
    nearly every one of the first thousands.
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

    @property
    def incoming(self) -> Path:
        """Where originals are while they are being written; what stays there is half-written."""
        return self.folder / "incoming"

    def put(self, data: bytes, sha256: str) -> str:
        """Keep one original; the same content again costs nothing.

        Returns:
            Its storage key. When this returns, the content is on the disk.

        Raises:
            StoreUnavailable: The disk is full, or the folder cannot be written.
        """
        if not _SHA256.fullmatch(sha256):
            raise ValueError(f"no sha256: {sha256!r}")
        target = self.folder / key_of(sha256)
        try:
            if _is_there(target, len(data)):
                return key_of(sha256)
            self._write(data, target)
        except OSError as error:
            raise StoreUnavailable(f"The original cannot be stored in {self.folder}: {error.strerror}.") from error
        return key_of(sha256)

    def restore(self, data: bytes, sha256: str) -> None:
        """Write an original anew, whatever lies in its place.

        Raises:
            ValueError: The content is not what the hash says.
            StoreUnavailable: As `put`.
        """
        if hashlib.sha256(data).hexdigest() != sha256:
            raise ValueError("the content has another sha256")
        try:
            self._write(data, self.folder / key_of(sha256))
        except OSError as error:
            raise StoreUnavailable(f"The original cannot be stored in {self.folder}: {error.strerror}.") from error

    def _write(self, data: bytes, target: Path) -> None:
        temporary = self.incoming / secrets.token_hex(16)
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
            sync_folder(folder)

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

    def kept(self) -> Iterator[str]:
        """Walk over the sha256 of every original that lies here, in no particular order.

        Raises:
            OSError: The folder cannot be read.
        """
        with os.scandir(self.folder):  # a missing store must be noticed, not taken for an empty one
            pass
        for parent, folders, names in os.walk(self.folder):
            if Path(parent) == self.folder:
                folders[:] = [name for name in folders if name != self.incoming.name]
            yield from (
                name for name in names if _SHA256.fullmatch(name) and Path(parent, name) == self.path(key_of(name))
            )


def key_of(sha256: str) -> str:
    """Return the storage key of a content."""
    return f"{sha256[:2]}/{sha256}"


def _is_there(target: Path, size: int) -> bool:
    """Whether an original is kept already; if so, mark it as wanted now, so that no clean-up takes it for forgotten."""
    try:
        if not target.is_file() or target.stat().st_size != size:
            return False
        os.utime(target)
    except OSError:
        return False  # also one that was there a moment ago; it is written anew
    return True


def _make_folders(folder: Path) -> list[Path]:
    """Make a folder and those above it as far as they are missing; return those that were."""
    if folder.is_dir():
        return []
    made = _make_folders(folder.parent)
    folder.mkdir(exist_ok=True)
    return [*made, folder]


def sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(descriptor)
