"""Hands in radiographs, by turns through both doors, all at once or in small batches while something else happens."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.pictures import Pictures
from chaos.trial import Trial

#: Radiographs that come together, and seconds from such a batch to the next: about three radiographs a second.
_TOGETHER, _BETWEEN = (1, 6), (0.2, 1.6)


class Feed:
    """A supply of radiographs that are all different."""

    def __init__(self, trial: Trial, chance: random.Random) -> None:
        self._trial, self._chance, self._pictures, self._tried = trial, chance, Pictures(None), 0

    def give(self, count: int) -> None:
        """Hand in so many; what a door refuses is not given."""
        for content in self._pictures.make(count):
            self._tried += 1
            if self._tried % 2:
                self._trial.drop(f"drop-{self._tried}.jpg", content)
            else:
                self._trial.upload(f"upload-{self._tried}.jpg", content)

    @contextmanager
    def flowing(self) -> Iterator[None]:
        """Hand in small batches at random moments while the block runs."""
        stop = threading.Event()

        def flow() -> None:
            while not stop.is_set():
                self.give(self._chance.randint(*_TOGETHER))
                stop.wait(self._chance.uniform(*_BETWEEN))

        thread = threading.Thread(target=flow, name="feed")
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
