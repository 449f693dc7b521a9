"""Keep a log that another process writes below a size.

The writer has it open for appending and is never asked: its content is copied away and the file cut to nothing, after
which the next line begins it anew. What is written between the two steps, moments apart, is lost.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

#: The log itself and each of those kept; together a role's logs stay below six times as much.
MOST_BYTES = 10 * 2**20
KEPT = 5


def rotate(log: Path, *, most_bytes: int = MOST_BYTES, kept: int = KEPT) -> bool:
    """Move a log that has grown too large to `NAME.1`, that one to `NAME.2`, and so on; return whether it had.

    Raises:
        OSError: The disk is full, or the folder cannot be written; the log is as it was.
    """
    try:
        if log.stat().st_size <= most_bytes:
            return False
    except FileNotFoundError:
        return False
    older = [log.with_name(f"{log.name}.{number}") for number in range(1, kept + 1)]
    older[-1].unlink(missing_ok=True)  # first, so that there is room
    for source, target in zip(older[-2::-1], older[:0:-1], strict=True):
        if source.exists():
            source.replace(target)
    shutil.copyfile(log, older[0])
    os.truncate(log, 0)
    return True
