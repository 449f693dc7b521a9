"""Signs of life of this machine's processes: a file that each role's loop touches.

They say only that the loop turns. They ask neither database nor broker, because starting a process again brings neither
back; and the files are on this machine, so that the answer is about this machine's process, whatever its clock says.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

from core.errors import Unavailable

#: Roles that are not asked at an address; the receiver's may want a certificate.
ROLES = ("worker", "inbox", "beat", "dicom")


class NoSignOfLife(Unavailable):
    """The process does not run here, or does nothing any more."""

    code = "no-sign-of-life"


def show_life(runtime: Path, role: str) -> None:
    """Note that a role's loop turns. A disk that is full is no reason to stop working."""
    mark = _mark(runtime, role)
    beside = mark.with_suffix(".new")  # a reader in the middle of a write would find nothing
    try:
        beside.write_text(f"{time.monotonic()!r} {os.getpid()}")
        beside.replace(mark)
    except OSError:
        return


def forget_life(runtime: Path, role: str) -> None:
    """Take the note back, at an orderly end."""
    _mark(runtime, role).unlink(missing_ok=True)


def forget_killed(runtime: Path) -> None:
    """Take back the notes of processes that are gone and could not do so themselves."""
    for role in ROLES:
        with suppress(OSError):
            shown_at_by = _mark(runtime, role).read_text().split()
            if len(shown_at_by) != 2 or not Path("/proc", shown_at_by[1]).exists():
                forget_life(runtime, role)
                _mark(runtime, role).with_suffix(".new").unlink(missing_ok=True)


def seconds_since_life(runtime: Path, role: str) -> float:
    """Return how long ago a role's loop last turned on this machine.

    Raises:
        NoSignOfLife: It never did since the machine started, or ended in order.
    """
    try:
        # The steady clock is the machine's, the same for all processes, and begins anew with it (Linux).
        shown_at = float(_mark(runtime, role).read_text().split()[0])
    except (OSError, ValueError, IndexError):
        raise NoSignOfLife(f"No {role} runs on this machine with these settings.") from None
    ago = time.monotonic() - shown_at  # looked at after the mark, which would else seem to be of the future
    if ago < 0:
        raise NoSignOfLife(f"No {role} has run on this machine since it was started.")
    return ago


def _mark(runtime: Path, role: str) -> Path:
    return runtime / f"alive-{role}"
