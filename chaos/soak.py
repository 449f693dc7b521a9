"""Minutes of random faults while radiographs come in all the time."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.pictures import Pictures
from chaos.check import Verdict, check
from chaos.faults import FAULTS
from chaos.matrix import give
from chaos.trial import Trial, wait_until

#: Longest time for everything to be answered after the last fault, in seconds.
_SETTLE = 600.0
#: Between two radiographs that come in, and between the end of a fault and the next, in seconds.
_BETWEEN_RADIOGRAPHS, _BETWEEN_FAULTS = (0.1, 0.8), (1.0, 12.0)


@dataclass(frozen=True)
class Soaked:
    """What a soak did and found."""

    verdict: Verdict
    faults: tuple[str, ...]  # in the order in which they struck
    seed: int
    seconds: float


def soak(trial: Trial, *, minutes: float, seed: int, say: Callable[[str], None]) -> Soaked:
    """Strike faults at random for so many minutes, then wait until everything is answered, and check.

    Raises:
        TrialFailed: The installation did not become quiet.
    """
    began, stop = time.monotonic(), threading.Event()
    struck: list[str] = []
    feeder = threading.Thread(target=_feed, args=(trial, random.Random(seed), stop), name="feeder")
    chance = random.Random(seed + 1)
    possible = [fault for fault in FAULTS if trial.back_end in fault.back_ends]
    feeder.start()
    try:
        while time.monotonic() - began < 60 * minutes:
            stop.wait(chance.uniform(*_BETWEEN_FAULTS))
            fault = chance.choice(possible)
            say(f"{time.monotonic() - began:6.1f} s: {fault.name}; {len(trial.given)} radiographs so far")
            fault.strike(trial, chance)
            struck.append(fault.name)
    finally:
        stop.set()
        feeder.join()
    wait_until(trial.is_quiet, "everything is answered", _SETTLE)
    return Soaked(check(trial), tuple(struck), seed, time.monotonic() - began)


def _feed(trial: Trial, chance: random.Random, stop: threading.Event) -> None:
    pictures = Pictures(None)
    while not stop.is_set():
        give(trial, pictures, 1)
        stop.wait(chance.uniform(*_BETWEEN_RADIOGRAPHS))
