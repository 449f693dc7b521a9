"""How often real radiographs are flagged wrongly, and how many other pictures are caught.

    python -m benchmarks.plausibility [--data DIR] [--every N] [--count N]

The thresholds of `core/plausibility.py` were chosen on the train and valid splits; this looks at the test splits, at
made-up pictures of kinds and seeds on which nothing was chosen, and at test radiographs that were spoilt on purpose.
`docs/plausibility.md` holds its table.
"""

from __future__ import annotations

import argparse
import csv
import io
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.apart import draw_apart, kinds
from core.answers import UNLIKE_RADIOGRAPHS, answers, with_words
from core.bundle import find_bundles
from core.engines.protocol import Classifier, load_classifier
from core.plausibility import WORDS
from core.preprocessing import read_radiograph
from core.settings import MODELS_FOLDER
from training.strangers import KINDS, draw

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
#: The two data sets, and the shipped model whose `unlike-radiographs` counts beside the words.
SETS, MODEL = ("bone-break", "fracture-binary"), "fracture"
#: The first seed of what is measured; no threshold saw one of these.
SEED = 900_000
_MOST_PIXELS = 64_000_000

Grey = NDArray[np.uint8]


@dataclass
class Row:
    """One kind of pictures."""

    name: str
    pictures: int
    flagged: int  # by a word
    caught: int  # by a word or by the network
    words: Counter[str]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="Measure the words of core/plausibility.py.")
    parser.add_argument("--data", type=Path, default=DATA, help="folder that holds bone-break/ and fracture-binary/")
    parser.add_argument("--every", type=int, default=1, help="look at every so manieth test radiograph")
    parser.add_argument("--count", type=int, default=20, help="pictures of each made-up kind")
    asked = parser.parse_args()
    classifier = shipped_classifier()
    real = [measure(name, real_files(asked.data / name, asked.every), classifier) for name in SETS]
    _print_rows("Test radiographs", "flagged by a word", [(row, row.flagged) for row in real])
    apart = [measure(kind, drawn(kind, draw_apart, asked.count), classifier) for kind in kinds()]
    _print_rows("Made-up, kinds never chosen on", "caught", [(row, row.caught) for row in [*apart, total(apart)]])
    known = [measure(kind, drawn(kind, draw, asked.count), classifier) for kind in KINDS]
    _print_rows("Made-up, other seeds of known kinds", "caught", [(row, row.caught) for row in [*known, total(known)]])
    files = [file for name in SETS for file in real_files(asked.data / name, asked.every * 10)]
    spoilt = [measure(name, (spoil(file) for file in files), classifier) for name, spoil in spoilings().items()]
    _print_rows("Test radiographs, spoilt", "flagged by a word", [(row, row.flagged) for row in spoilt])


def shipped_classifier() -> Classifier:
    """Load the binary model that ships."""
    bundles = [bundle for bundle in find_bundles(MODELS_FOLDER) if bundle.card.name == MODEL]
    return load_classifier(bundles[-1], "litert")


def real_files(folder: Path, every: int) -> list[bytes]:
    """Return every n-th file of a test split."""
    with (folder / "MANIFEST.csv").open(newline="", encoding="utf-8") as stream:
        paths = [row["path"] for row in csv.DictReader(stream) if row["split"] == "test"]
    return [(folder / path).read_bytes() for path in paths[::every]]


def drawn(kind: str, how: Callable[[str, int], NDArray[np.uint8]], count: int) -> list[bytes]:
    """Return made-up pictures as files: PNG and JPEG in turn."""
    return [_file(how(kind, SEED + number), "PNG" if number % 2 else "JPEG") for number in range(count)]


def measure(name: str, files: Iterable[bytes], classifier: Classifier) -> Row:
    """Look at files as a worker does."""
    row = Row(name, 0, 0, 0, Counter())
    card = classifier.card
    for data in files:
        reading = read_radiograph(data, side=card.side, channels=card.channels, max_pixels=_MOST_PIXELS)
        (answer,) = answers(classifier.run(reading.model_input[np.newaxis]), card)
        flags = with_words(answer, reading.words).flags if answer else reading.words
        row.pictures += 1
        row.flagged += bool(reading.words)
        row.caught += bool(reading.words) or UNLIKE_RADIOGRAPHS in flags
        row.words.update(flag for flag in flags if flag in WORDS or flag == UNLIKE_RADIOGRAPHS)
    return row


def total(rows: Sequence[Row]) -> Row:
    """Add rows up."""
    words: Counter[str] = sum((row.words for row in rows), Counter())
    pictures, flagged, caught = (sum(getattr(row, name) for row in rows) for name in ("pictures", "flagged", "caught"))
    return Row("all", pictures, flagged, caught, words)


def spoilings() -> Mapping[str, Callable[[bytes], bytes]]:
    """Return what is done to radiographs, each by the word that it should raise."""
    return {
        "inverted": _changed(lambda grey: 255 - grey),
        "clipped": _changed(_clipped),
        "screenshot (in a light window)": _changed(lambda grey: _framed(grey, 245)),
        "screenshot (in a grey window)": _changed(lambda grey: _framed(grey, 60)),
        "several (two, with a white gap)": _changed(lambda grey: _twice(grey, 255)),
        "several (two, with a black gap)": _changed(lambda grey: _twice(grey, 0)),
        "too-small": _changed(lambda grey: _resized(grey, 40)),
        "extreme-aspect": _changed(lambda grey: grey[: max(1, grey.shape[1] // 12)]),
    }


def _changed(change: Callable[[Grey], Grey]) -> Callable[[bytes], bytes]:
    return lambda data: _file(change(np.asarray(Image.open(io.BytesIO(data)).convert("L"))), "JPEG")


def _clipped(grey: Grey) -> Grey:
    low, high = np.percentile(grey, (45, 55))
    return np.asarray(np.clip((grey - low) * (255 / max(high - low, 1)), 0, 255), dtype=np.uint8)


def _framed(grey: Grey, level: int) -> Grey:
    down, across = (round(side * 0.15) for side in grey.shape)
    return np.pad(grey, ((down, down), (across, across)), constant_values=level)


def _twice(grey: Grey, level: int) -> Grey:
    return np.hstack([grey, np.full((len(grey), max(4, grey.shape[1] // 30)), level, np.uint8), grey[:, ::-1]])


def _resized(grey: Grey, side: int) -> Grey:
    picture = Image.fromarray(grey)
    picture.thumbnail((side, side))
    return np.asarray(picture)


def _file(picture: NDArray[np.uint8], form: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, form, quality=90)
    return stream.getvalue()


def _print_rows(title: str, heading: str, rows: Sequence[tuple[Row, int]]) -> None:
    print(f"\n| {title} | pictures | {heading} | words |\n| --- | ---: | ---: | --- |")  # noqa: T201
    for row, count in rows:
        words = ", ".join(f"{word} {times}" for word, times in row.words.most_common())
        print(f"| {row.name} | {row.pictures} | {count} ({count / row.pictures:.1%}) | {words} |")  # noqa: T201


if __name__ == "__main__":
    main()
