"""Each fault alone, several times: what was lost, what was doubled, and how long until all was answered again."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median

from benchmarks.pictures import Pictures
from chaos.check import check
from chaos.faults import FAULTS, Fault
from chaos.trial import Trial, wait_until

#: Radiographs given before each strike, half through the inbox, half through the API.
GIVEN = 24
_NO_FAULT = Fault("(no fault)", lambda _trial, _chance: None)


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
    def recovery(self) -> float:
        """The middle of the times, in seconds."""
        return median(self.seconds)


def strike_each(trial: Trial, *, times: int, seed: int, say: Callable[[str], None]) -> Iterator[Row]:
    """Strike every fault of the trial's back end so many times, and none at all for comparison.

    Raises:
        TrialFailed: The installation did not recover in time.
    """
    pictures, chance = Pictures(None), random.Random(seed)
    for fault in (_NO_FAULT, *FAULTS):
        if trial.back_end not in fault.back_ends:
            continue
        before, seconds = check(trial), []
        for turn in range(times):
            say(f"{trial.back_end}: {fault.name}, {turn + 1} of {times}")
            wait_until(trial.is_ready, "the installation is ready")
            give(trial, pictures, GIVEN)
            begun = trial.ended() or 0
            wait_until(lambda begun=begun: (trial.ended() or 0) > begun, "work has begun")  # type: ignore[misc]
            fault.strike(trial, chance)
            seconds.append(wait_until(trial.is_quiet, f"everything is answered after: {fault.name}"))
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


def give(trial: Trial, pictures: Pictures, count: int) -> None:
    """Hand in so many radiographs, by turns through both doors; what a door refuses is not given."""
    for content in pictures.make(count):
        number = len(trial.given)
        if number % 2:
            trial.upload(f"upload-{number}.jpg", content)
        else:
            trial.drop(f"drop-{number}.jpg", content)
