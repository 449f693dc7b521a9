"""Pictures that are no radiographs, drawn at random: what a network's outlier score has to notice.

No threshold is ever chosen on them; they only measure (`publish` writes on the card how many of each kind are
noticed). The two photographs come with scikit-learn.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Generator = np.random.Generator
Picture = NDArray[np.uint8]

_WORDS = (
    "report of the left wrist two views no previous study for comparison the patient fell from a ladder clinical "
    "question fracture please call invoice total amount due account number page sincerely yours appendix table "
    "of contents and in with chapter method results 12 2024 17:30 45.00 discussion"
)


def draw(kind: str, seed: int) -> Picture:
    """Draw one picture.

    Args:
        kind: One of KINDS.
        seed: The same seed gives the same picture.

    Returns:
        (height, width, 3) uint8, red, green, blue; 150 to 500 px a side.
    """
    generator = np.random.default_rng([sorted(KINDS).index(kind), seed])
    width, height = (int(side) for side in generator.integers(150, 500, 2))
    drawn = KINDS[kind](generator, width, height)
    levels = np.asarray(drawn.convert("RGB")) if isinstance(drawn, Image.Image) else drawn
    if levels.ndim == 2:
        levels = np.repeat(levels[:, :, np.newaxis], 3, axis=2)
    picture: Picture = np.clip(levels, 0, 255).astype(np.uint8)
    return picture


def _blank(generator: Generator, width: int, height: int) -> NDArray[Any]:
    level = generator.choice([0, 255, int(generator.integers(1, 255))])
    return np.full((height, width), level)


def _gradient(generator: Generator, width: int, height: int) -> NDArray[Any]:
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    angle = generator.uniform(0, 2 * np.pi)
    centre = generator.uniform(-0.5, 0.5, 2)
    slope = (
        x * np.cos(angle) + y * np.sin(angle)
        if generator.random() < 0.5
        else np.hypot(x - centre[0], y - centre[1]) * generator.choice([-1, 1])
    )
    low, high = np.sort(generator.uniform((0, 60), (195, 255)))
    rising: NDArray[Any] = low + (high - low) * (slope - slope.min()) / np.ptp(slope)
    return rising


def _noise(generator: Generator, width: int, height: int) -> NDArray[Any]:
    kind = generator.integers(4)
    if kind == 0:
        return generator.normal(128, generator.uniform(20, 80), (height, width))
    if kind == 1:
        return generator.uniform(0, 255, (height, width, 3))
    if kind == 2:
        return np.where(generator.random((height, width)) < generator.uniform(0.02, 0.5), 255, 0)
    small = generator.uniform(0, 255, (max(2, height // 12), max(2, width // 12))).astype(np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


def _clouds(generator: Generator, width: int, height: int) -> NDArray[Any]:
    """Noise whose power falls with frequency, as in many natural pictures."""
    y, x = np.fft.fftfreq(height)[:, np.newaxis], np.fft.fftfreq(width)
    frequency = np.hypot(y, x)
    frequency[0, 0] = 1
    spectrum = np.fft.fft2(generator.normal(size=(height, width))) / frequency ** generator.uniform(0.8, 1.8)
    levels = np.fft.ifft2(spectrum).real
    clouds: NDArray[Any] = 128 + 50 * (levels - levels.mean()) / levels.std()
    return clouds


def _text(generator: Generator, width: int, height: int) -> Image.Image:
    dark, light = ("black", "white") if generator.random() < 0.75 else ("white", "black")
    page = Image.new("RGB", (width, height), light)
    pen = ImageDraw.Draw(page)
    size = int(generator.integers(9, 22))
    font = ImageFont.load_default(size)
    for top in range(int(generator.integers(5, 30)), height - size, int(size * generator.uniform(1.2, 2))):
        if generator.random() < 0.85:
            line = " ".join(generator.choice(_WORDS.split(), width // (size * 3) + 1))
            pen.text((int(generator.integers(5, 25)), top), line, fill=dark, font=font)
    return page


def _plot(generator: Generator, width: int, height: int) -> Image.Image:
    page = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(page)
    left, bottom = 35, height - 25
    pen.line([(left, 10), (left, bottom), (width - 10, bottom)], fill="black")
    for share in np.linspace(0, 1, 5):
        pen.text((5, 10 + share * (bottom - 20)), f"{1 - share:.1f}", fill="black", font=ImageFont.load_default(9))
    if generator.random() < 0.3:
        for x in np.linspace(left + 8, width - 30, int(generator.integers(4, 10))):
            pen.rectangle([x, generator.uniform(15, bottom - 5), x + 14, bottom], fill=_colour(generator))
        return page
    xs = np.linspace(left, width - 12, 60)
    for _ in range(int(generator.integers(1, 5))):
        ys = np.cumsum(generator.normal(0, 1, 60))
        ys = bottom - 8 - (ys - ys.min()) / np.ptp(ys) * (bottom - 30)
        pen.line(list(zip(xs, ys, strict=True)), fill=_colour(generator), width=int(generator.integers(1, 4)))
    return page


def _pattern(generator: Generator, width: int, height: int) -> NDArray[Any]:
    y, x = np.mgrid[:height, :width]
    period = generator.uniform(6, 60)
    angle = generator.uniform(0, np.pi)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    stripes = np.sin(along * 2 * np.pi / period) > 0
    if generator.random() < 0.5:
        stripes ^= np.sin(across * 2 * np.pi / period) > 0
    return np.where(stripes, 230, 25)


def _shapes(generator: Generator, width: int, height: int) -> Image.Image:
    page = Image.new("RGB", (width, height), _colour(generator))
    pen = ImageDraw.Draw(page)
    for _ in range(int(generator.integers(8, 30))):
        (x, y), (w, h) = generator.uniform(-20, (width, height)), generator.uniform(10, 120, 2)
        form = pen.ellipse if generator.random() < 0.5 else pen.rectangle
        form([x, y, x + w, y + h], fill=_colour(generator))
    return page


def _photograph(generator: Generator, width: int, height: int) -> Image.Image:
    """A part of one of two photographs (a palace by a lake, a flower), perhaps mirrored, in other light."""
    whole = _photographs()[int(generator.integers(2))]
    side = generator.uniform(0.35, 1)
    cut_width, cut_height = int(whole.width * side), int(whole.height * side)
    left, top = (int(generator.integers(0, room + 1)) for room in (whole.width - cut_width, whole.height - cut_height))
    cut = whole.crop((left, top, left + cut_width, top + cut_height)).resize((width, height))
    if generator.random() < 0.5:
        cut = cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return cut.point([min(255, int(level * light)) for light in generator.uniform(0.6, 1.3, 3) for level in range(256)])


def _landscape(generator: Generator, width: int, height: int) -> Image.Image:
    """Sky, hills with texture, a sun, trees: what a colour photograph has, made up."""
    sky = np.linspace(0, 1, height)[:, np.newaxis, np.newaxis]
    levels = (1 - sky) * generator.uniform(60, 180, 3) + sky * generator.uniform(150, 255, 3)
    levels = np.repeat(levels, width, axis=1)
    x = np.arange(width)
    for depth in range(int(generator.integers(2, 5))):
        crest = height * (0.35 + 0.15 * depth) + sum(
            generator.uniform(5, 30) * np.sin(x / generator.uniform(20, 90) + generator.uniform(0, 6)) for _ in range(3)
        )
        land = np.arange(height)[:, np.newaxis] > crest
        texture = generator.normal(0, generator.uniform(8, 30), (height, width, 1))
        levels = np.where(land[:, :, np.newaxis], generator.uniform(20, 190, 3) + texture, levels)
    scene = Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(scene)
    for _ in range(int(generator.integers(0, 12))):
        foot, at, size = generator.uniform(0.6, 1) * height, generator.uniform(0, width), generator.uniform(8, 45)
        pen.rectangle([at - size / 12, foot - size, at + size / 12, foot], fill=(70, 50, 30))
        pen.ellipse([at - size / 2, foot - 1.8 * size, at + size / 2, foot - 0.6 * size], fill=_colour(generator))
    return scene.filter(ImageFilter.GaussianBlur(float(generator.uniform(0, 1.2))))


#: What can be drawn.
KINDS: dict[str, Callable[[Generator, int, int], NDArray[Any] | Image.Image]] = {
    "blank": _blank,
    "gradient": _gradient,
    "noise": _noise,
    "clouds": _clouds,
    "text page": _text,
    "plot": _plot,
    "pattern": _pattern,
    "shapes": _shapes,
    "photograph": _photograph,
    "landscape": _landscape,
}


def _colour(generator: Generator) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(*(float(part) for part in generator.uniform((0, 0.2, 0.2), (1, 1, 1))))
    return round(red * 255), round(green * 255), round(blue * 255)


@cache
def _photographs() -> tuple[Image.Image, Image.Image]:
    from sklearn.datasets import load_sample_image

    return Image.fromarray(load_sample_image("china.jpg")), Image.fromarray(load_sample_image("flower.jpg"))
