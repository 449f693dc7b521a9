"""Look an installation over and mend what is stuck, lost or damaged, while everything runs or after a crash.

Nothing healthy is taken for ill: leases and ages decide, with more patience than the processes need that would mend it
by themselves. Two doctors at once, and one beside a working system, do no harm.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from core.errors import FractureError
from worker.doctor.ailments import Ailment, Check, Premises
from worker.doctor.inbox_checks import INBOX_CHECKS
from worker.doctor.queue_checks import QUEUE_CHECKS
from worker.doctor.store_checks import STORE_CHECKS

CHECKS = (*QUEUE_CHECKS, *INBOX_CHECKS, *STORE_CHECKS)


@dataclass(frozen=True)
class Verdict:
    """What one check found, and what is left of it."""

    check: str
    found: Ailment | None
    left: Ailment | None  # after mending; without mending as found

    @property
    def well(self) -> bool:
        """Whether nothing is wrong, or nothing any more."""
        return self.left is None or self.left.notice


def examine(premises: Premises, *, fix: bool) -> Iterator[Verdict]:
    """Make every check, one after another; never raises for what a check meets.

    Args:
        premises: The installation.
        fix: Mend what is found, and look again.
    """
    for check in CHECKS:
        found = left = _look(check, premises)
        if fix and found and check.mend:
            left = _mend(check, premises)
        yield Verdict(check.name, found, left)


def _look(check: Check, premises: Premises) -> Ailment | None:
    try:
        return check.examine(premises)
    except (FractureError, OSError) as error:
        return _unanswered(error)


def _mend(check: Check, premises: Premises) -> Ailment | None:
    try:
        if check.mend:
            check.mend(premises)
    except (FractureError, OSError) as error:
        why, left = _unanswered(error), _look(check, premises)
        # What could not be mended is named, with the first cause; all else was.
        return left and replace(left, words=left.words if left.words == why.words else f"{left.words} {why.words}")
    return _look(check, premises)


def _unanswered(error: FractureError | OSError) -> Ailment:
    # An OSError's own words hold the path, and with it perhaps a patient's name.
    words = (
        str(error) if isinstance(error, FractureError) else f"A folder cannot be used: {error.strerror or 'no cause'}."
    )
    return Ailment(words, 1)
