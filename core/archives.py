"""ZIP and tar archives, read member by member and never unpacked to a disk.

No name in an archive is used as a path, so none can lead anywhere. What an archive may become is bounded before
anything of it is recorded: count, size, and how much smaller it is packed than unpacked.
"""

from __future__ import annotations

import gzip
import io
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import IO, cast

from core.dicom.signs import may_be_dicom
from core.errors import ImageTooLarge, RejectedImage, UnreadableImage, UnsafeArchive, UnsupportedFormat
from core.ingest import BEGINNING, Incoming
from core.settings import Settings

#: How many times larger than packed: deflate reaches 1032 on zeros, radiographs 20. Small members may be more.
_MOST_RATIO, _SMALL = 200, 10 * 2**20
#: Folders and what is ignored are not counted as files; so many times the files there may be of all.
_MOST_ENTRIES = 3
_READ_AT_ONCE = 2**20
#: One read of a tar's own header; longer ones exist only to fill the memory.
_MOST_HEADER_BYTES = 4 * 2**20
_ZIP, _TAR, _GZIP = (b"PK\x03\x04", b"PK\x05\x06"), b"ustar", b"\x1f\x8b"
_JUNK = ("__macosx", "thumbs.db", "desktop.ini")


@dataclass(frozen=True)
class Limits:
    """What an archive may become."""

    files: int
    bytes: int  # of all members
    file_bytes: int  # of one member


@dataclass(frozen=True)
class Contents:
    """What an archive holds, seen before anything of it is taken."""

    files: int
    ignored: int  # hidden files, and what macOS and Windows leave in folders
    with_dicom: bool  # then no name in it is safe to keep


@dataclass(frozen=True)
class _Entry:
    name: str
    size: int
    read: Callable[[int], bytes]  # at most so many bytes from the beginning, once
    problem: RejectedImage | None


def limits_of(settings: Settings) -> Limits:
    """Return what this installation accepts."""
    return Limits(settings.max_archive_files, settings.max_archive_bytes, settings.max_file_bytes)


def is_archive(beginning: bytes) -> bool:
    """Whether a file is a ZIP, a tar or gzip by its first `BEGINNING` bytes."""
    return beginning.startswith((*_ZIP, _GZIP)) or beginning[257:262] == _TAR


def survey(stream: IO[bytes], limits: Limits) -> Contents:
    """Go through a whole archive once.

    Raises:
        RejectedImage: It is damaged, holds nothing, or becomes too much.
    """
    files = ignored = total = 0
    with_dicom = False
    for entry in _entries(stream, limits):
        if entry is None:
            ignored += 1
            continue
        files, total = files + 1, total + entry.size
        if files + ignored > limits.files:
            raise ImageTooLarge(f"The archive holds more than {limits.files} files; send several archives.")
        if total > limits.bytes:
            raise ImageTooLarge(
                f"The archive becomes more than {limits.bytes / 2**30:.3g} GiB unpacked; send several archives."
            )
        if entry.problem is None:
            with suppress(RejectedImage):  # that file is rejected when its turn comes
                with_dicom = with_dicom or may_be_dicom(entry.name, entry.read(BEGINNING))
    if not files:
        raise UnsupportedFormat("The archive holds no files.")
    return Contents(files, ignored, with_dicom)


def members(stream: IO[bytes], limits: Limits) -> Iterator[Incoming]:
    """Read an archive's files, one after the other; those that cannot be read come with a sentence.

    Raises:
        RejectedImage: As `survey`.
    """
    for entry in _entries(stream, limits):
        if entry is None:
            continue
        problem, data = entry.problem, None
        if problem is None and entry.size <= limits.file_bytes:
            try:
                data = entry.read(limits.file_bytes)
            except RejectedImage as found:
                problem = found
        if data is not None and is_archive(data[:BEGINNING]):
            problem, data = UnsupportedFormat("An archive within an archive is not unpacked."), None
        yield Incoming(name=entry.name, data=data, size=entry.size, problem=problem)


def taken_apart(
    stream: IO[bytes], name: str, size: int, limits: Limits, *, expect: Callable[[int], object] | None = None
) -> Iterator[Incoming]:
    """Yield the files of an archive that somebody sends, or the archive itself with why it cannot be used.

    Args:
        stream: The archive, which `is_archive`.
        name: As given.
        size: In bytes.
        limits: What it may become.
        expect: Is told how many files will come, before the first.
    """
    try:
        contents = survey(stream, limits)
        if expect is not None:
            expect(contents.files)
        for member in members(stream, limits):
            yield replace(member, private=contents.with_dicom)
    except RejectedImage as problem:
        # Nothing but its name says whose pictures it holds.
        yield Incoming(name=name, data=None, size=size, problem=problem)


def _entries(stream: IO[bytes], limits: Limits) -> Iterator[_Entry | None]:
    """Yield what an archive holds, None for what is ignored; folders are left out."""
    stream.seek(0)
    beginning = stream.read(BEGINNING)
    stream.seek(0)
    try:
        if beginning.startswith(_ZIP):
            yield from _zipped(stream, limits)
        else:
            yield from _tarred(stream, beginning, limits)
    except (MemoryError, RejectedImage):
        raise
    except tarfile.ReadError as error:
        words = "is compressed, but no tar archive" if beginning.startswith(_GZIP) else "is damaged"
        raise UnreadableImage(f"The file {words}, or it is cut off.") from error
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError, ValueError, RuntimeError) as error:
        raise UnreadableImage("The archive is damaged or cut off.") from error


def _zipped(stream: IO[bytes], limits: Limits) -> Iterator[_Entry | None]:
    with zipfile.ZipFile(stream) as archive:
        if len(archive.infolist()) > _MOST_ENTRIES * limits.files:
            raise UnsafeArchive
        for info in archive.infolist():
            if info.is_dir():
                continue
            if _is_ignored(info.filename):
                yield None
                continue
            if info.file_size > max(_SMALL, _MOST_RATIO * info.compress_size):
                raise UnsafeArchive
            problem = _trouble(info.filename, link=stat.S_ISLNK(info.external_attr >> 16))
            if info.flag_bits & 1:
                problem = UnreadableImage("The file is encrypted in its archive; pack it without a password.")

            def read(most: int, info: zipfile.ZipInfo = info) -> bytes:
                try:
                    with archive.open(info) as member:
                        return _at_most(member, most)
                except (MemoryError, RejectedImage):
                    raise
                except Exception as error:  # decompressors raise almost anything on damaged bytes
                    raise UnreadableImage("The archive is damaged at this file.") from error

            yield _Entry(info.filename, info.file_size, read, problem)


def _tarred(stream: IO[bytes], beginning: bytes, limits: Limits) -> Iterator[_Entry | None]:
    size = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    packed = beginning.startswith(_GZIP)
    bounded = _Bounded(
        cast(IO[bytes], gzip.GzipFile(fileobj=stream)) if packed else stream,
        most=limits.bytes + 2**20 + 2048 * limits.files,
        suspicious=max(_SMALL, _MOST_RATIO * size) if packed else None,
    )
    with tarfile.TarFile(fileobj=cast(IO[bytes], bounded), mode="r") as archive:
        for number, info in enumerate(archive):
            archive.members = []  # type: ignore[attr-defined]  # or it remembers every one
            if number > _MOST_ENTRIES * limits.files:
                raise UnsafeArchive
            if info.isdir():
                continue
            if _is_ignored(info.name):
                yield None
                continue

            def read(most: int, info: tarfile.TarInfo = info) -> bytes:
                try:
                    member = archive.extractfile(info)
                    return b"" if member is None else _at_most(member, most)
                except (MemoryError, RejectedImage):
                    raise
                except Exception as error:  # the walk that goes on after it finds that the archive is cut off
                    raise UnreadableImage("The archive is damaged at this file.") from error

            yield _Entry(info.name, info.size, read, _trouble(info.name, link=not info.isreg()))


class _Bounded:
    """A file that is read forwards, of which only so much is read."""

    def __init__(self, stream: IO[bytes], *, most: int, suspicious: int | None) -> None:
        self._stream, self._most, self._suspicious = stream, most, suspicious

    def read(self, size: int) -> bytes:
        if size > _MOST_HEADER_BYTES:
            raise UnsafeArchive
        data = self._stream.read(size)
        self._check(self._stream.tell())
        return data

    def seek(self, place: int) -> int:
        self._check(place)
        return self._stream.seek(place)

    def tell(self) -> int:
        return self._stream.tell()

    def _check(self, place: int) -> None:
        if self._suspicious is not None and place > self._suspicious:
            raise UnsafeArchive
        if place > self._most:
            raise ImageTooLarge("The archive becomes more than this installation accepts; send several archives.")


def _at_most(stream: IO[bytes], most: int) -> bytes:
    parts, left = [], most
    while left and (part := stream.read(min(left, _READ_AT_ONCE))):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def _trouble(name: str, *, link: bool) -> RejectedImage | None:
    if link:
        return UnsupportedFormat("It is a link or a device, not a file; such are not followed.")
    if name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/") or name[1:3] in (":\\", ":/"):
        return UnsupportedFormat("Its path leads out of the archive; such files are not taken.")
    return None


def _is_ignored(name: str) -> bool:
    parts = [part for part in PurePosixPath(name.replace("\\", "/")).parts if part not in ("..", ".")]
    return any(part.startswith(".") or part.lower() in _JUNK for part in parts)
