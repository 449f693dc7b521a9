"""Files to be classified: real radiographs where a data set is at hand, encoded again so that no two are the same."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

#: Originals that are read; more would only fill the memory.
_MOST = 200
#: Drawn pictures, where no data set is at hand.
_DRAWN = 40
_DRAWN_SIDE = 512
_QUALITIES = range(82, 96)


class Pictures:
    """An endless supply of JPEG files with distinct contents."""

    def __init__(self, folder: Path | None) -> None:
        """Read originals from below a folder; None or an empty one: draw some."""
        found = sorted(folder.rglob("*.jpg"))[:: max(1, len(list(folder.rglob("*.jpg"))) // _MOST)] if folder else []
        self._originals = [_grey(path) for path in found[:_MOST]] or [_drawn(number) for number in range(_DRAWN)]
        self.words = (
            f"{len(self._originals)} radiographs of {folder}, encoded again"
            if found
            else f"{_DRAWN} drawn pictures of {_DRAWN_SIDE} x {_DRAWN_SIDE} px, encoded again"
        )
        self._number = 0

    def make(self, count: int) -> Iterator[bytes]:
        """Yield that many files; no content ever comes twice."""
        for _ in range(count):
            original = self._originals[self._number % len(self._originals)]
            stream = io.BytesIO()
            quality = _QUALITIES[self._number % len(_QUALITIES)]
            original.save(stream, "JPEG", quality=quality, comment=f"copy {self._number}".encode())
            self._number += 1
            yield stream.getvalue()

    def write(self, folder: Path, count: int) -> list[Path]:
        """Write that many files into a new folder."""
        folder.mkdir(parents=True)
        paths = [folder / f"{number:06d}.jpg" for number in range(count)]
        for path, content in zip(paths, self.make(count), strict=True):
            path.write_bytes(content)
        return paths


def _grey(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("L")


def _drawn(number: int) -> Image.Image:
    """A bright bar with a dark line across, in noise."""
    generator = np.random.default_rng(number)
    levels = generator.normal(30, 8, (_DRAWN_SIDE, _DRAWN_SIDE)).clip(0, 255).astype(np.uint8)
    image = Image.fromarray(levels)
    draw = ImageDraw.Draw(image)
    left = int(generator.integers(120, 280))
    draw.rectangle((left, 20, left + 110, _DRAWN_SIDE - 20), fill=int(generator.integers(150, 230)))
    top = int(generator.integers(100, 380))
    draw.line((left, top, left + 110, top + int(generator.integers(-60, 60))), fill=60, width=4)
    return image
