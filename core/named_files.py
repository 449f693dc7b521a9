"""Files that somebody names on a command line: read whole, but nothing that never ends or never begins."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import NamedTuple


class Content(NamedTuple):
    """What a file holds."""

    size: int
    data: bytes | None  # None: it is larger than wanted
    beginning: bytes  # of one that is larger: the first bytes


def read_named(path: Path, most_bytes: int, *, beginning: int) -> Content:
    """Read a file of at most `most_bytes`; of a larger one the first bytes.

    Args:
        path: Where it lies.
        most_bytes: Size up to which it is read.
        beginning: How many bytes of a larger one are wanted.

    Raises:
        OSError: It cannot be read, or is none: a pipe that nobody writes blocks for ever, a device may never end.
    """
    # Without waiting for whoever writes a pipe.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:
        found = os.fstat(stream.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "it is a folder, a pipe or a device")
        data = stream.read(most_bytes + 1) if found.st_size <= most_bytes else stream.read(beginning)
    if found.st_size > most_bytes or len(data) > most_bytes:
        return Content(max(found.st_size, len(data)), None, data[:beginning])
    return Content(len(data), data, b"")
