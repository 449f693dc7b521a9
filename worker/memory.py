"""A bound on what decoding may add to its process's memory, so that an image that wants too much fails by itself."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def limited_memory(mebibytes: int) -> Iterator[None]:
    """Refuse memory beyond what the process has now plus so many MiB: whoever asks for more gets a `MemoryError`.

    The bound moves with what the process has, because networks and their threads take from 100 MiB to several GiB of
    it. It counts memory that was asked for, used or not, so that it strikes before the machine runs short.

    Args:
        mebibytes: The allowance; 0: no bound.

    Source: setrlimit(2), RLIMIT_DATA; since Linux 4.7 it covers private anonymous mappings, hence all of malloc.
    """
    has = _data_bytes()
    if mebibytes == 0 or has is None:
        yield
        return
    before, most = resource.getrlimit(resource.RLIMIT_DATA)
    allowed = has + mebibytes * 2**20
    for bound in (before, most):
        allowed = allowed if bound == resource.RLIM_INFINITY else min(allowed, bound)
    resource.setrlimit(resource.RLIMIT_DATA, (allowed, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (before, most))


def _data_bytes() -> int | None:
    """Return what the kernel holds against the limit, in bytes; None where there is no such kernel."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[5])
    except (OSError, IndexError, ValueError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")
