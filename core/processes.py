"""What the kernel says of this machine's processes (Linux; elsewhere nothing is known)."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from functools import cache
from pathlib import Path

#: Letters of states in which a process does nothing: stopped by a signal, or by a debugger.
_STOPPED = "Tt"
#: It has ended, and only its parent has not looked yet.
_ENDED = "ZXx"


@dataclass(frozen=True)
class Sight:
    """One look at a living process."""

    born: int  # in clock ticks since the machine's start; tells two processes of one number apart
    stopped: bool  # by a signal or a debugger
    waits_for_disk: bool  # in a call that nothing interrupts
    processor_seconds: float  # used so far, by all its threads
    memory_bytes: int  # resident


def see(pid: int) -> Sight | None:
    """Look at a process; None: it does not live, or there is no such kernel.

    Source: proc(5), /proc/PID/stat.
    """
    try:
        words = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        state, ticks = words[0], os.sysconf("SC_CLK_TCK")
        if state in _ENDED:
            return None
        return Sight(
            born=int(words[19]),
            stopped=state in _STOPPED,
            waits_for_disk=state == "D",
            processor_seconds=(int(words[11]) + int(words[12])) / ticks,
            memory_bytes=int(words[21]) * os.sysconf("SC_PAGE_SIZE"),
        )
    except (OSError, ValueError, IndexError):
        return None


@cache
def place() -> str:
    """Name what shares this process's numbers: a start of a machine and one container on it; empty: not known."""
    try:
        start = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{start}:{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return ""


def host() -> str:
    """Name this machine, or this container."""
    return socket.gethostname()
