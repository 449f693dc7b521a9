"""Files as a slow share brings them: in small writes with pauses, some longer than a file has to be quiet."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import draw_radiograph

Writer = Callable[[Path, list[bytes], Callable[[], None]], None]


def _straight(path: Path, pieces: list[bytes], pause: Callable[[], None]) -> None:
    with path.open("wb") as stream:
        for piece in pieces:
            stream.write(piece)
            stream.flush()
            pause()


def _empty_first(path: Path, pieces: list[bytes], pause: Callable[[], None]) -> None:
    path.touch()
    pause()
    _straight(path, pieces, pause)


def _reopened(path: Path, pieces: list[bytes], pause: Callable[[], None]) -> None:
    for number, piece in enumerate(pieces):
        with path.open("ab" if number else "wb") as stream:
            stream.write(piece)
        pause()


def _sized_first(path: Path, pieces: list[bytes], pause: Callable[[], None]) -> None:
    """As Windows copies to a share: the full size at once, the content afterwards."""
    with path.open("wb") as stream:
        stream.truncate(sum(len(piece) for piece in pieces))
        for piece in pieces:
            stream.write(piece)
            stream.flush()
            pause()


def _renamed(path: Path, pieces: list[bytes], pause: Callable[[], None]) -> None:
    """As most programs for such transfers do."""
    _straight(path.with_name(f"{path.name}.part"), pieces, pause)
    path.with_name(f"{path.name}.part").rename(path)


WRITERS: tuple[Writer, ...] = (_straight, _empty_first, _reopened, _sized_first, _renamed)
FORMS = ("PNG", "JPEG", "WEBP")


@dataclass(frozen=True)
class Share:
    """How slow it is."""

    at_once: int  # files under way
    pauses: tuple[float, float]  # seconds between two writes
    long_pauses: tuple[float, float]
    long_share: float  # of all pauses


def content(number: int) -> tuple[str, bytes]:
    """Return the name and the bytes of a file."""
    form = FORMS[number % len(FORMS)]
    return f"ward{number % 7}/{number}.{form.lower()}", draw_radiograph(number, width=48, height=64, form=form)


def bring(folder: Path, files: int, share: Share, *, seed: int = 0) -> None:
    """Write them all, and return when the last one is whole."""
    for ward in range(7):
        (folder / f"ward{ward}").mkdir(exist_ok=True)

    def write(number: int) -> None:
        chance = random.Random(seed * 1_000_003 + number)
        name, data = content(number)
        # The last write is no shorter than 64 bytes: of the last few alone nobody could tell that they are missing.
        cuts = sorted({0, len(data), *(chance.randrange(1, len(data) - 64) for _ in range(chance.randint(2, 5)))})
        pieces = [data[start:end] for start, end in itertools.pairwise(cuts)]

        def pause() -> None:
            time.sleep(chance.uniform(*(share.long_pauses if chance.random() < share.long_share else share.pauses)))

        WRITERS[number % len(WRITERS)](folder / name, pieces, pause)

    with ThreadPoolExecutor(share.at_once) as writers:
        list(writers.map(write, range(files)))
