"""Files that somebody names on a command line: read whole, but nothing that never ends or never begins."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple


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
    with open_named(path) as stream:
        return content_of(stream, most_bytes, beginning=beginning)


@contextmanager
def open_named(path: Path) -> Iterator[IO[bytes]]:
    """Open a file to read; what is refused as in `read_named`."""
    # Without waiting for whoever writes a pipe.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is a folder, a pipe or a device")
        yield stream


def content_of(stream: IO[bytes], most_bytes: int, *, beginning: int) -> Content:
    """Read an open file from where it stands, as `read_named`."""
    size = os.fstat(stream.fileno()).st_size
    data = stream.read(most_bytes + 1) if size <= most_bytes else stream.read(beginning)
    if size > most_bytes or len(data) > most_bytes:
        return Content(max(size, len(data)), None, data[:beginning])
    return Content(len(data), data, b"")
