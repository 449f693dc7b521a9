"""Move files without overwriting and without losing: between folders, and between file systems."""

from __future__ import annotations

import errno
import filecmp
import itertools
import os
import secrets
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from core.storage import sync_folder

_LONGEST_NAME_BYTES = 255
#: What follows the last dot of a longer one is part of the name, not a kind of file.
_LONGEST_SUFFIX_BYTES = 16
#: A folder of copies in the making; what is there at a start was left by a crash.
UNFINISHED = ".moving"
#: What file systems without hard links answer.
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS)


def move_aside(
    source: Path, folder: Path, relative: Path, *, before_leaving: Callable[[Path], object] | None = None
) -> Path:
    """Move a file to `folder/relative`, or beside it under `NAME (2).EXT` and so on when that name is taken.

    Args:
        source: The file.
        folder: `done/` or `failed/`.
        relative: The path that the file had below the inbox.
        before_leaving: Called with the new path while the file is still at `source`, so that what it does is done
            again when a crash or an `OSError` of its own comes before the end.

    Returns:
        Where it lies now.

    Raises:
        OSError: It could not be moved; it is still at `source`.
    """
    wanted = _make_folder(folder, relative.parent) / relative.name
    for number in itertools.count(1):
        target = wanted if number == 1 else wanted.with_name(_numbered(wanted.name, number))
        try:
            os.link(source, target, follow_symlinks=False)  # unlike a rename, a link never overwrites
        except FileExistsError:
            if not target.samefile(source) and not is_copy(target, source):
                continue
            # Ours: a crash came between the link, or the copy to another file system, and the unlink.
        except OSError as error:
            if error.errno not in (errno.EXDEV, *_NO_LINKS):
                raise
            # Another file system, or one without hard links; this process alone writes here.
            if target.exists():
                continue
            if before_leaving:
                before_leaving(target)
            move(source, target, below=folder)
            return target
        if before_leaving:
            before_leaving(target)
        source.unlink()
        return target
    raise AssertionError("unreachable")


def _make_folder(top: Path, relative: Path) -> Path:
    """Make a folder below another; where a file has its name, as one of an earlier drop may, it gets a number too."""
    folder = top / relative
    if folder.is_dir():
        return folder
    top.mkdir(parents=True, exist_ok=True)
    folder = top
    for name in relative.parts:
        for number in itertools.count(1):
            wanted = folder / (name if number == 1 else _numbered(name, number))
            try:
                wanted.mkdir(exist_ok=True)
            except FileExistsError:
                continue
            break
        folder = wanted
    return folder


def move(source: Path, target: Path, *, below: Path) -> None:
    """Rename; across file systems copy, make it durable, rename, and only then remove the source.

    Args:
        source: The file.
        target: Where nothing lies yet.
        below: A folder above `target` that has been there for long; those under it may be new. Half a copy lies in
            `UNFINISHED` there, where whoever starts next finds it without a walk.

    Raises:
        OSError: It could not be moved; it is still at `source`, and nothing is at `target`.
    """
    try:
        source.rename(target)
        return
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
    unfinished = below / UNFINISHED
    unfinished.mkdir(exist_ok=True)
    temporary = unfinished / f".{secrets.token_hex(8)}.tmp"
    try:
        shutil.copyfile(source, temporary)
        with suppress(OSError):  # not every share lets rights and times be set
            shutil.copystat(source, temporary)
        with temporary.open("rb") as copied:
            os.fsync(copied.fileno())
        temporary.rename(target)
    finally:
        temporary.unlink(missing_ok=True)
        with suppress(OSError):  # it is gone, or another copy is in it
            unfinished.rmdir()
    try:
        folder = target.parent
        sync_folder(folder)
        while folder != below and below in folder.parents:
            folder = folder.parent
            sync_folder(folder)
        source.unlink()
    except OSError:
        target.unlink()
        raise


def is_copy(path: Path, source: Path) -> bool:
    """Whether a file is what `move` made of another, on another file system, that is still there."""
    try:
        ours, theirs = path.lstat(), source.lstat()
        if ours.st_dev == theirs.st_dev or (ours.st_size, ours.st_mtime_ns) != (theirs.st_size, theirs.st_mtime_ns):
            return False
        return filecmp.cmp(path, source, shallow=False)
    except OSError:
        return False


def write_reason(target: Path, reasons: tuple[str, ...]) -> Path:
    """Write `NAME.reason.txt` beside a file, in plain words; another file of that name is left alone.

    Returns:
        Its path; a name that would be too long is shortened in its middle, so that ` (2).png` stays.
    """
    text = "\n".join(reasons) + "\n"
    end = target.name[-20:] + ".reason.txt"
    wanted = target.with_name(shortened(target.name[:-20], _LONGEST_NAME_BYTES - len(os.fsencode(end))) + end)
    for number in itertools.count(1):
        path = wanted if number == 1 else wanted.with_name(_numbered(wanted.name, number))
        try:
            with path.open("x", encoding="utf-8") as stream:
                stream.write(text)
        except FileExistsError:
            if path.is_file() and path.read_bytes() == text.encode():
                return path  # written before a crash
            continue
        return path
    raise AssertionError("unreachable")


def remove_empty(folder: Path, stop: Path) -> None:
    """Remove a folder and its parents up to `stop`, as far as they are empty."""
    while folder != stop and stop in folder.parents:
        try:
            folder.rmdir()
        except FileNotFoundError:
            pass
        except OSError:
            return  # not empty
        folder = folder.parent


def shortened(name: str, most_bytes: int) -> str:
    """Cut a name to a number of bytes without breaking a character."""
    raw = os.fsencode(name)
    return name if len(raw) <= most_bytes else raw[:most_bytes].decode("utf-8", "ignore")


def _numbered(name: str, number: int) -> str:
    stem, suffix = Path(name).stem, Path(name).suffix
    if len(os.fsencode(suffix)) > _LONGEST_SUFFIX_BYTES:
        stem, suffix = name, ""
    addition = f" ({number}){suffix}"
    return shortened(stem, _LONGEST_NAME_BYTES - len(os.fsencode(addition))) + addition
