"""Move files without overwriting and without losing: between folders, and between file systems."""

from __future__ import annotations

import errno
import itertools
import os
import secrets
import shutil
from pathlib import Path

_LONGEST_NAME_BYTES = 255


def move_aside(source: Path, folder: Path, relative: Path) -> Path:
    """Move a file to `folder/relative`, or beside it under `NAME (2).EXT` and so on when that name is taken.

    Args:
        source: The file.
        folder: `done/` or `failed/`.
        relative: The path that the file had below the inbox.

    Returns:
        Where it lies now.

    Raises:
        OSError: It could not be moved; it is still at `source`.
    """
    wanted = folder / relative
    wanted.parent.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(1):
        target = wanted if number == 1 else wanted.with_name(_numbered(wanted.name, number))
        try:
            os.link(source, target, follow_symlinks=False)  # unlike a rename, a link never overwrites
        except FileExistsError:
            if target.samefile(source):  # a crash came between the link and the unlink
                source.unlink()
                return target
            continue
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EMLINK):
                raise
            # Another file system, or one without hard links; this process alone writes here.
            if target.exists():
                continue
            move(source, target)
            return target
        source.unlink()
        return target
    raise AssertionError("unreachable")


def move(source: Path, target: Path) -> None:
    """Rename; across file systems copy, make it durable, rename, and only then remove the source.

    Raises:
        OSError: It could not be moved; it is still at `source`.
    """
    try:
        source.rename(target)
        return
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
    temporary = target.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        shutil.copy2(source, temporary)
        with temporary.open("rb") as copied:
            os.fsync(copied.fileno())
        temporary.rename(target)
    finally:
        temporary.unlink(missing_ok=True)
    source.unlink()


def write_reason(target: Path, reasons: tuple[str, ...]) -> Path:
    """Write `NAME.reason.txt` beside a file, in plain words.

    Returns:
        Its path; a name that would be too long is shortened.
    """
    suffix = ".reason.txt"
    stem = shortened(target.name, _LONGEST_NAME_BYTES - len(suffix))
    path = target.with_name(stem + suffix)
    path.write_text("\n".join(reasons) + "\n", encoding="utf-8")
    return path


def shortened(name: str, most_bytes: int) -> str:
    """Cut a name to a number of bytes without breaking a character."""
    raw = os.fsencode(name)
    return name if len(raw) <= most_bytes else raw[:most_bytes].decode("utf-8", "ignore")


def _numbered(name: str, number: int) -> str:
    path = Path(name)
    addition = f" ({number}){path.suffix}"
    return shortened(path.stem, _LONGEST_NAME_BYTES - len(os.fsencode(addition))) + addition
