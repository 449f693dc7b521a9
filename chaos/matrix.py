"""Each fault alone, several times: what was lost, what was doubled, and how long until all was answered again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median

from chaos.check import check
from chaos.faults import Fault, possible_faults
from chaos.feed import Feed
from chaos.trial import PATIENCE, Trial, TrialFailed, wait_until

#: Radiographs given before each strike, half through the inbox, half through the API; more come while it lasts.
GIVEN = 24
_NO_FAULT = Fault("(no fault)", lambda _trial, _chance: True)


@dataclass(frozen=True)
class Row:
    """One fault on one back end."""

    fault: str
    back_end: str
    given: int
    lost: int
    doubled: int
    altered: int
    seconds: tuple[float, ...]  # from the end of each strike until everything was answered and moved on

    @property
    def struck(self) -> int:
        """How often it struck; a strike that found nothing to hurt does not count."""
        return len(self.seconds)

    @property
    def recovery(self) -> float:
        """The middle of the times, in seconds."""
        return median(self.seconds)


def strike_each(trial: Trial, *, times: int, seed: int, say: Callable[[str], None]) -> Iterator[Row]:
    """Strike every fault that is possible here so many times, and none at all for comparison.

    Raises:
        TrialFailed: The installation did not recover in time, or there was nothing to strike.
    """
    chance = random.Random(seed)
    feed = Feed(trial, random.Random(seed + 1))
    for fault in (_NO_FAULT, *possible_faults(trial)):
        before, seconds = check(trial), []
        for turn in range(times):
            say(f"{trial.back_end}: {fault.name}, {turn + 1} of {times}")
            wait_until(lambda: trial.is_whole() and trial.is_quiet(), "every process is there and nothing to do")
            seconds.append(_strike(trial, fault, feed, chance))
        after = check(trial)
        yield Row(
            fault.name,
            trial.back_end,
            after.given - before.given,
            after.lost - before.lost + after.left - before.left,
            after.doubled - before.doubled,
            after.altered - before.altered,
            tuple(seconds),
        )


def _strike(trial: Trial, fault: Fault, feed: Feed, chance: random.Random) -> float:
    """Strike once while radiographs come in; return the seconds from the end of the strike until all is done."""
    begun = trial.ended() or 0
    feed.give(GIVEN)
    wait_until(lambda: (trial.ended() or 0) > begun, "work has begun")
    until = time.monotonic() + PATIENCE
    with feed.flowing():
        while not fault.strike(trial, chance):
            if time.monotonic() > until:
                raise TrialFailed(f"There was nothing to strike: {fault.name}.")
        struck = time.monotonic()
    wait_until(trial.is_quiet, f"everything is answered after: {fault.name}")
    return time.monotonic() - struck
