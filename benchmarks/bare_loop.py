"""The ceiling: the same decoding and the same engine in a bare loop, no queue and no database."""

from __future__ import annotations

import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from core.answers import answers
from core.bundle import Bundle
from core.engines.protocol import load_classifier
from core.preprocessing import read_model_input

_BATCH = 8
_MAX_PIXELS = 64_000_000


def loop(connection: Connection, folder: Path, engine: str) -> None:
    """Classify the files of each list that comes in; sends (start, end) of the monotonic clock; None ends it."""
    classifier = load_classifier(Bundle.open(folder), engine)
    card = classifier.card
    connection.send("ready")
    while (files := connection.recv()) is not None:
        started = time.monotonic()
        for first in range(0, len(files), _BATCH):
            batch = [
                read_model_input(file.read_bytes(), side=card.side, channels=card.channels, max_pixels=_MAX_PIXELS)
                for file in files[first : first + _BATCH]
            ]
            answers(classifier.run(np.stack(batch)), card)
        connection.send((started, time.monotonic()))


def one_by_one(bundle: Bundle, contents: Sequence[bytes], engine: str = "litert") -> list[float]:
    """Return how many milliseconds decoding and network take for each file, the first left out."""
    classifier = load_classifier(bundle, engine)
    card = classifier.card
    spent = []
    for content in contents:
        started = time.perf_counter()
        picture = read_model_input(content, side=card.side, channels=card.channels, max_pixels=_MAX_PIXELS)
        answers(classifier.run(picture[np.newaxis]), card)
        spent.append((time.perf_counter() - started) * 1000)
    return spent[1:]
