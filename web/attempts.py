"""Failed sign-ins are limited, by name and by address, so that passwords cannot be guessed."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable

#: Our choice: a person who has mistyped five times knows by then; a program gets 1,440 guesses a day.
MOST_FAILURES, WITHIN_SECONDS = 5, 300.0
#: With more keys than this the old ones are thrown out first. Hashing is so slow that there are never many more.
_MANY_KEYS = 10_000


class Attempts:
    """Counts attempts before their outcome is known, so that many at once are not too many; success takes one back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._begun: dict[str, deque[float]] = {}

    def begin(self, name: str, address: str) -> int:
        """Count one attempt; return 0, or in how many seconds it may be made when there were too many."""
        keys = (f"name {name}", f"address {address}")
        with self._lock:
            at = self._clock()
            wait = max(self._wait(key, at) for key in keys)
            if wait > 0:
                return math.ceil(wait)
            if len(self._begun) > _MANY_KEYS:
                self._begun = {key: times for key, times in self._begun.items() if times[-1] > at - WITHIN_SECONDS}
            for key in keys:
                self._begun.setdefault(key, deque(maxlen=MOST_FAILURES)).append(at)
        return 0

    def succeeded(self, name: str, address: str) -> None:
        """Forget the failures of a name, and that this attempt came from its address."""
        with self._lock:
            self._begun.pop(f"name {name}", None)
            times = self._begun.get(f"address {address}")
            if times:
                times.pop()
                if not times:
                    del self._begun[f"address {address}"]

    def _wait(self, key: str, at: float) -> float:
        """Return the seconds until the oldest of too many attempts no longer counts."""
        times = self._begun.get(key)
        return times[0] + WITHIN_SECONDS - at if times and len(times) == MOST_FAILURES else 0.0
