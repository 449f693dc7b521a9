"""The store of originals as a folder: content-addressed files, written whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from core.errors import ConfigurationError, OriginalAltered, StoreUnavailable

_SHA256 = re.compile(r"[0-9a-f]{64}")
#: What some network shares answer, which sync a file but no folder.
_NO_SYNC = (errno.EINVAL, errno.ENOTSUP)
_KEY = re.compile(r"[0-9a-f]{2}/[0-9a-f]{64}")
_READ_BYTES = 2**20
#: Originals that nobody has touched for this long belong to no write that is still going on. Our choice: the largest
#: file takes seconds, and clocks of machines that share a store differ by less.
SAFE_AGE_SECONDS = 3600.0


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
        target = self.folder / checked_key_of(sha256)
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
        refuse_other_content(data, sha256)
        try:
            self._write(data, self.folder / key_of(sha256))
        except OSError as error:
            raise StoreUnavailable(f"The original cannot be stored in {self.folder}: {error.strerror}.") from error

    def _write(self, data: bytes, target: Path) -> None:
        temporary = self.incoming / secrets.token_hex(16)
        try:
            try:
                self._write_synced(data, temporary)
            except FileNotFoundError:  # the first original of all
                temporary.parent.mkdir(parents=True, exist_ok=True)
                self._write_synced(data, temporary)
            made = _make_folders(target.parent)
            temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        for folder in (target.parent, *(each.parent for each in made)):
            sync_folder(folder)

    @staticmethod
    def _write_synced(data: bytes, path: Path) -> None:
        with path.open("xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())

    def get(self, key: str) -> bytes:
        """Return one original.

        Raises:
            StoreUnavailable: It is missing or cannot be read.
            OriginalAltered: It is not what came in.
        """
        try:
            data = self.path(key).read_bytes()
        except OSError as error:
            raise StoreUnavailable(f"The original {key} cannot be read: {error.strerror}.") from error
        if hashlib.sha256(data).hexdigest() != digest_of(key):
            raise OriginalAltered
        return data

    def size(self, key: str) -> int | None:
        """Return how many bytes lie under a key; None when it is missing.

        Raises:
            StoreUnavailable: The folder cannot be read.
        """
        found = self._found(key)
        return None if found is None else found.st_size

    def age_seconds(self, key: str) -> float | None:
        """Return for how long nobody has written or wanted an original; None when it is missing.

        Raises:
            StoreUnavailable: The folder cannot be read.
        """
        found = self._found(key)
        return None if found is None else time.time() - found.st_mtime

    def verify(self, key: str) -> bool:
        """Whether what lies there is what came in."""
        digest = hashlib.sha256()
        try:
            with self.path(key).open("rb") as stream:
                while block := stream.read(_READ_BYTES):
                    digest.update(block)
        except OSError:
            return False
        return digest.hexdigest() == digest_of(key)

    def _found(self, key: str) -> os.stat_result | None:
        try:
            return self.path(key).stat()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreUnavailable(f"The folder {self.folder} cannot be read: {error.strerror}.") from error

    def path(self, key: str) -> Path:
        """Return where an original lies.

        Raises:
            ValueError: The key is none that `put` gave.
        """
        digest_of(key)
        return self.folder / key

    def discard(self, key: str, is_needed: Callable[[], bool]) -> bool:
        """Delete an original unless somebody wants it at this moment; return whether it is gone by this call.

        Set aside, looked at once more, and only then deleted: the content may be coming in at this moment. Who stores
        one that is there already marks the file as wanted, or finds it gone and writes it anew.

        Raises:
            OSError: It cannot be deleted.
        """
        self.incoming.mkdir(exist_ok=True)
        path, aside = self.path(key), self.incoming / secrets.token_hex(16)
        try:
            path.rename(aside)
        except FileNotFoundError:
            return False  # somebody else was faster
        if is_needed() or not _is_old(aside):
            aside.rename(path)
            return False
        aside.unlink(missing_ok=True)
        return True

    def unfinished(self) -> list[str]:
        """Return the half-written files that no living process can be writing any more.

        Raises:
            OSError: The folder cannot be read.
        """
        try:
            with os.scandir(self.incoming) as entries:
                paths = sorted(Path(entry) for entry in entries if entry.is_file(follow_symlinks=False))
        except FileNotFoundError:
            return []  # nothing was ever written
        return [f"{self.incoming.name}/{path.name}" for path in paths if _is_old(path)]

    def clear_unfinished(self) -> None:
        """Delete them.

        Raises:
            OSError: One cannot be deleted.
        """
        for name in self.unfinished():
            self.folder.joinpath(name).unlink(missing_ok=True)

    def reach(self) -> None:
        """Raise when the folder is away, as a share may be.

        Raises:
            StoreUnavailable: It is not there, or cannot be read.
        """
        try:
            with os.scandir(self.folder):
                pass
        except OSError as error:
            raise StoreUnavailable(f"The store {self.folder} cannot be read: {error.strerror}.") from error

    def probe(self) -> None:
        """Write, read and delete something of no meaning.

        Raises:
            StoreUnavailable: One of them failed.
        """
        self.reach()
        path, wanted = self.incoming / secrets.token_hex(16), secrets.token_bytes(16)
        try:
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(wanted)
            found = path.read_bytes()
            path.unlink()
        except OSError as error:
            raise StoreUnavailable(f"The store {self.folder} cannot be used: {error.strerror}.") from error
        if found != wanted:
            raise StoreUnavailable(f"The store {self.folder} returned something else than what was written.")

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


def checked_key_of(sha256: str) -> str:
    """Likewise of what may be no sha256, which is refused by `ValueError`."""
    if not _SHA256.fullmatch(sha256):
        raise ValueError(f"no sha256: {sha256!r}")
    return key_of(sha256)


def digest_of(key: str) -> str:
    """Return the sha256 in a storage key; `ValueError` when it is none that a store gave."""
    if not _KEY.fullmatch(key):
        raise ValueError(f"no storage key: {key!r}")
    return key.rpartition("/")[2]


def refuse_other_content(data: bytes, sha256: str) -> None:
    """Raise `ValueError` when a content is not what its hash says."""
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ValueError("the content has another sha256")


def _is_old(path: Path) -> bool:
    """Whether nobody has written or wanted a file for long; False when it is gone."""
    try:
        return path.stat().st_mtime < time.time() - SAFE_AGE_SECONDS
    except OSError:
        return False


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
