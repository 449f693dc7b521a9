"""Minutes of random faults while radiographs come in all the time."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from chaos.check import Verdict, check
from chaos.faults import possible_faults
from chaos.feed import Feed
from chaos.trial import Trial, wait_until

#: Longest time for everything to be answered after the last fault, in seconds.
_SETTLE = 600.0
#: Between the end of a fault and the next, in seconds.
_BETWEEN_FAULTS = (1.0, 12.0)


@dataclass(frozen=True)
class Soaked:
    """What a soak did and found."""

    verdict: Verdict
    faults: tuple[str, ...]  # in the order in which they struck; one that found nothing to hurt is left out
    seed: int
    seconds: float


def soak(trial: Trial, *, minutes: float, seed: int, say: Callable[[str], None]) -> Soaked:
    """Strike faults at random for so many minutes, then wait until everything is answered, and check.

    Raises:
        TrialFailed: The installation gave up, or did not become quiet.
    """
    began = time.monotonic()
    struck: list[str] = []
    chance = random.Random(seed + 1)
    possible = possible_faults(trial)
    with Feed(trial, random.Random(seed)).flowing():
        while time.monotonic() - began < 60 * minutes:
            time.sleep(chance.uniform(*_BETWEEN_FAULTS))
            fault = chance.choice(possible)
            hit = fault.strike(trial, chance)
            if hit:
                struck.append(fault.name)
            words = fault.name if hit else f"nothing to strike: {fault.name}"
            trial.check_alive()
            say(f"{time.monotonic() - began:6.1f} s: {words}; {len(trial.given)} radiographs so far")
    wait_until(trial.is_quiet, "everything is answered", _SETTLE)
    return Soaked(check(trial), tuple(struck), seed, time.monotonic() - began)
