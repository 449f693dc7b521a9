"""Locks between processes: a file that one process holds, given back by the kernel however that process ends."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

log = logging.getLogger(__name__)

#: What shares without locks say.
_NO_LOCKS = (errno.ENOTSUP, errno.ENOLCK, errno.ENOSYS, errno.EINVAL)


@contextmanager
def held_alone(path: Path, taken: Callable[[str], Exception]) -> Iterator[None]:
    """Hold the file `path`, which is made if it is missing and says which process holds it.

    Args:
        path: The lock file; it stays.
        taken: Makes the error from the holder's process number (or "unknown").

    Raises:
        Exception: What `taken` made; another process holds the lock.
        OSError: The file cannot be opened for writing.
    """
    with path.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                lock.seek(0)
                raise taken(lock.read().strip() or "unknown") from error
            log.warning("%s cannot be locked; see to it that no second process uses its folder.", path)
        with suppress(OSError):  # a disk that is full: the lock is held all the same
            os.ftruncate(lock.fileno(), 0)
            os.write(lock.fileno(), str(os.getpid()).encode())
        yield
