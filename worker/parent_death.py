"""No orphans: ask the kernel to end this process when its parent dies (Linux)."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent(expected_parent: int | None = None) -> None:
    """Have SIGKILL sent to this process when the thread that started it ends.

    Args:
        expected_parent: If the parent is already another one, it died before this call: end at once.

    Source: prctl(2). Elsewhere than on Linux this does nothing; a supervisor that is killed then leaves orphans.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if expected_parent is not None and os.getppid() != expected_parent:
        os.kill(os.getpid(), signal.SIGKILL)
