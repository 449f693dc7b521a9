"""Made-up pictures that are no radiographs, of kinds on which no threshold was ever chosen.

Those of `training/strangers.py` had a part in choosing what networks look at, and their first seeds in the thresholds
of `core/plausibility.py`; these only measure.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Generator = np.random.Generator
Picture = NDArray[np.uint8]

#: The program's own pages, photographed.
SCREENSHOTS = Path(__file__).resolve().parent.parent / "docs" / "screenshots"


def draw_apart(kind: str, seed: int) -> Picture:
    """Draw one picture.

    Args:
        kind: One of `kinds()`.
        seed: The same seed gives the same picture.

    Returns:
        (height, width, 3) uint8, red, green, blue; 200 to 700 px a side.
    """
    generator = np.random.default_rng([sorted(_KINDS).index(kind), 77, seed])
    width, height = (int(side) for side in generator.integers(200, 700, 2))
    drawn = _KINDS[kind](generator, width, height)
    levels = np.asarray(drawn.convert("RGB")) if isinstance(drawn, Image.Image) else drawn
    picture: Picture = np.clip(levels, 0, 255).astype(np.uint8)
    return picture


def kinds() -> list[str]:
    """Return what can be drawn here; screenshots only where they lie."""
    return [kind for kind in _KINDS if kind != "screenshot" or _screenshots()]


def _scene(generator: Generator, width: int, height: int) -> NDArray[Any]:
    """Balls on a tiled floor, lit from one side, rendered ray by ray."""
    y, x = np.mgrid[1 : -1 : height * 1j, -width / height : width / height : width * 1j]
    rays = np.dstack([x, y - 0.2, np.full_like(x, 1.6)])
    rays /= np.linalg.norm(rays, axis=2, keepdims=True)
    light = np.array([generator.uniform(-1, 1), 1.2, -0.6])
    light /= np.linalg.norm(light)
    picture = generator.uniform(90, 230, 3) * (1 - 0.4 * y[:, :, np.newaxis].clip(0, 1))
    far = np.full(x.shape, np.inf)
    down = rays[:, :, 1] < -0.02
    reach = np.where(down, -1 / np.where(down, rays[:, :, 1], -1), 0)
    floor = np.floor(rays[:, :, 0] * reach * 1.5) + np.floor(reach * 1.5)
    tiles = np.where((floor % 2 == 0)[:, :, np.newaxis], generator.uniform(20, 230, 3), generator.uniform(20, 230, 3))
    picture = np.where(down[:, :, np.newaxis], tiles, picture)
    far[down] = reach[down]
    for _ in range(int(generator.integers(2, 8))):
        centre = np.array([generator.uniform(-2, 2), generator.uniform(-0.7, 0.8), generator.uniform(2.5, 6)])
        radius, colour = generator.uniform(0.25, 0.8), generator.uniform(30, 255, 3)
        along = rays @ centre
        inside = along**2 - centre @ centre + radius**2
        depth = along - np.sqrt(np.maximum(inside, 0))
        seen = (inside > 0) & (depth > 0) & (depth < far)
        normal = (rays * depth[:, :, np.newaxis] - centre) / radius
        shade = 0.2 + 0.8 * np.maximum(normal @ light, 0)
        gleam = 150 * np.maximum(normal @ light, 0) ** 30
        picture = np.where(seen[:, :, np.newaxis], colour * shade[:, :, np.newaxis] + gleam[:, :, np.newaxis], picture)
        far[seen] = depth[seen]
    return picture + generator.normal(0, generator.uniform(0, 8), picture.shape)


def _grey_scene(generator: Generator, width: int, height: int) -> NDArray[Any]:
    return np.repeat(_scene(generator, width, height).mean(axis=2, keepdims=True), 3, axis=2)


def _form(generator: Generator, width: int, height: int) -> Image.Image:
    """A table with lines and numbers."""
    page = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(page)
    row, column = int(generator.integers(16, 30)), int(generator.integers(50, 110))
    font = ImageFont.load_default(int(generator.integers(9, 13)))
    for top in range(10, height - 10, row):
        pen.line([(8, top), (width - 8, top)], fill=(120, 120, 120))
        for left in range(8, width - column, column):
            pen.text((left + 4, top + 3), f"{generator.uniform(0, 999):.1f}", fill="black", font=font)
    for left in range(8, width, column):
        pen.line([(left, 10), (left, height - 10)], fill=(120, 120, 120))
    return page


def _handwriting(generator: Generator, width: int, height: int) -> Image.Image:
    paper = tuple(int(level) for level in generator.integers(225, 250, 3))
    page = Image.new("RGB", (width, height), paper)
    pen = ImageDraw.Draw(page)
    ink = tuple(int(level) for level in generator.integers(0, 90, 3))
    for top in range(30, height - 15, int(generator.integers(22, 40))):
        x = np.arange(15, generator.uniform(0.6, 1) * width - 10, 1.5)
        wave = np.cumsum(generator.normal(0, 1, len(x)))
        wave = 7 * np.sin(x / 3.1 + np.sin(x / 17) * 3) + 2 * (wave - wave.mean()) / (wave.std() + 1)
        pen.line(list(zip(x, top + wave, strict=True)), fill=ink, width=2)
    return page.filter(ImageFilter.GaussianBlur(0.6))


def _heat_map(generator: Generator, width: int, height: int) -> NDArray[Any]:
    rows, columns = (int(count) for count in generator.integers(5, 25, 2))
    cells = generator.uniform(0, 1, (rows, columns))
    y, x = np.arange(height) * rows // height, np.arange(width) * columns // width
    share = cells[y][:, x][:, :, np.newaxis]
    low, middle, high = (generator.uniform(0, 255, 3) for _ in range(3))
    return np.where(share < 0.5, low + (middle - low) * share * 2, middle + (high - middle) * (share * 2 - 1))


def _code(generator: Generator, width: int, height: int) -> NDArray[Any]:
    """Black and white squares, as on parcels."""
    count = int(generator.integers(21, 45))
    cells = np.pad(generator.random((count, count)) < 0.5, 3)
    y, x = np.arange(height) * len(cells) // height, np.arange(width) * len(cells) // width
    return np.repeat(np.where(cells[y][:, x], 0, 255)[:, :, np.newaxis], 3, axis=2)


def _flow_chart(generator: Generator, width: int, height: int) -> Image.Image:
    page = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(page)
    font = ImageFont.load_default(11)
    before = None
    for _ in range(int(generator.integers(4, 10))):
        left, top = generator.uniform(5, width - 110), generator.uniform(5, height - 45)
        fill = tuple(int(level) for level in generator.integers(170, 256, 3))
        if before is not None:
            pen.line([before, (left + 50, top + 18)], fill="black", width=2)
        pen.rectangle([left, top, left + 100, top + 36], fill=fill, outline="black")
        pen.text((left + 8, top + 11), str(generator.choice(["read file", "decide", "store", "done?"])), "black", font)
        before = (left + 50, top + 18)
    return page


def _photographed_page(generator: Generator, width: int, height: int) -> NDArray[Any]:
    """A page of text, taken askew and in uneven light."""
    page = Image.new("L", (width, height), 235)
    pen = ImageDraw.Draw(page)
    font = ImageFont.load_default(int(generator.integers(11, 18)))
    for top in range(15, height - 20, 24):
        line = " ".join(generator.choice(["fracture", "of", "the", "radius", "was", "seen", "in", "2019"], width // 45))
        pen.text((18, top), line, fill=40, font=font)
    askew = page.rotate(generator.uniform(-9, 9), Image.Resampling.BICUBIC, fillcolor=int(generator.integers(40, 110)))
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    light = 1 - 0.25 * np.hypot(x - generator.uniform(-1, 1), y - generator.uniform(-1, 1))
    levels = np.asarray(askew.filter(ImageFilter.GaussianBlur(0.7))) * light + generator.normal(0, 4, x.shape)
    return np.asarray(levels[:, :, np.newaxis] * generator.uniform((0.95, 0.9, 0.8), 1.0))


def _cells(generator: Generator, width: int, height: int) -> NDArray[Any]:
    """A mosaic: stones, cells, cracked earth."""
    points = generator.uniform(0, (width, height), (int(generator.integers(20, 120)), 2))
    y, x = np.mgrid[:height, :width]
    distance = np.full(x.shape, np.inf)
    owner = np.zeros(x.shape, dtype=np.int64)
    for number, (across, down) in enumerate(points):
        nearer = (far := (x - across) ** 2 + (y - down) ** 2) < distance
        distance[nearer], owner[nearer] = far[nearer], number
    colours = generator.uniform(40, 220) + generator.normal(0, 30, (len(points), 1)) + generator.normal(0, 8, (1, 3))
    return np.asarray(colours[owner] * (1 - 0.3 * distance / distance.max())[:, :, np.newaxis])


def _screenshot(generator: Generator, width: int, height: int) -> Image.Image:
    """A part of one of the program's own pages."""
    whole = Image.open(generator.choice(np.array(_screenshots()))).convert("RGB")
    share = generator.uniform(0.6, 1)
    wide, high = int(whole.width * share), int(min(whole.height, whole.width * 1.4) * share)
    left, top = int(generator.integers(0, whole.width - wide + 1)), int(generator.integers(0, whole.height - high + 1))
    size = max(width, height)
    cut = whole.crop((left, top, left + wide, top + high))
    return cut.resize((size, max(1, round(size * high / wide))), Image.Resampling.LANCZOS)


_KINDS: dict[str, Callable[[Generator, int, int], NDArray[Any] | Image.Image]] = {
    "rendered scene": _scene,
    "rendered scene, grey": _grey_scene,
    "form": _form,
    "handwriting": _handwriting,
    "heat map": _heat_map,
    "code": _code,
    "flow chart": _flow_chart,
    "photographed page": _photographed_page,
    "mosaic": _cells,
    "screenshot": _screenshot,
}


@cache
def _screenshots() -> tuple[str, ...]:
    return tuple(str(path) for path in sorted(SCREENSHOTS.glob("*.webp")))
