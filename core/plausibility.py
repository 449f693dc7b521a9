"""Before a network's number is believed: could this be one radiograph, fit to be judged?

A network names a fracture for every picture, a shopping list included. What can be told from the picture alone is told
here, in a word that is stored with the answer and shown before it; what looks like a radiograph in every respect that
is measured here, and is none, is left to the network's own `unlike-radiographs`.

Pictures are looked at in 256 px a side, where JPEG's noise is averaged away and strokes of letters are still seen. The
thresholds were chosen on the train and valid splits of bone-break and fracture-binary and on made-up pictures; how far
real radiographs stay from each is said beside it. docs/plausibility.md has the figures on the test splits.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core.pictures import Picture

#: A word for each reason, in the order in which they are looked at, with what people read.
WORDS = {
    "too-small": "too small",
    "extreme-aspect": "a strip, far too long for its width",
    "blank": "blank, or nothing but a shade",
    "colour": "a colour photograph or drawing",
    "text": "text or a plot",
    "inverted": "light and dark are exchanged",
    "clipped": "nothing but black and white",
    "screenshot": "a screenshot or a page with a border",
    "several": "several pictures on one sheet",
}
#: Of these the picture may be a radiograph, but none that can be judged as it is.
_UNFIT = ("too-small", "extreme-aspect", "inverted", "screenshot", "clipped", "several")

#: Pixels of the longer side below which nothing is recognised. Real ones: 150 and more (not one side of 58).
_LEAST_SIDE = 64
#: Longer side to shorter side. Real ones: up to 7.0, a cut-out forearm.
_MOST_ASPECT = 8.0
#: Grey levels between the darkest and the brightest per cent. Real ones: 89 and more.
_LEAST_RANGE = 40
#: Second differences, in grey levels, that one pixel in a hundred exceeds: a shade has none. Real ones: 12 and more.
_LEAST_DETAIL = 8
#: Blue and red differences, together, from which a pixel is coloured.
_COLOURED = 12
#: Share of pixels whose hue is none of the most frequent 90 degrees: a film may be tinted, but in one hue. Real ones:
#: 0.001 and less in 99 of 100; more have colours drawn on them.
_MOST_HUES = 0.015
#: Levels around the most frequent one that are its background, and those that stand out from it.
_BACKGROUND, _FOREGROUND = 8, 40
#: Text: so much is background, steps of 40 levels are so frequent, and so little of the foreground is thicker than
#: 8 pixels. Real ones with as much background: thick for 0.09 and more, rarely below 0.27; steps 0.04 and less.
_TEXT_BACKGROUND, _TEXT_STEPS, _TEXT_THICK = 0.55, 0.03, 0.15
_THICKNESS = 4  # pixels on either side
#: Level of the outermost pixels, margins cut off, above which the surroundings are light. Real ones: less in 99.8 of
#: 100, since air is black; of inverted ones about three in four exceed it.
_LIGHT_RING = 180
#: What lies within is darker than the surroundings by so much on average.
_DARKER = 12
#: Share of nearly white pixels that only paper and windows have. Real ones: 0.1 and less in 99 of 100.
_MOST_WHITE = 0.3
#: Share of the picture that flat margins take, on so many sides and of a level that is not black. Real ones: none, but
#: journal figures; film is not as flat.
_MOST_MARGIN, _LEAST_SIDES, _MARGIN_LEVEL, _MARGIN_NOISE = 0.12, 3, 40, 5
#: Share of pixels that are neither nearly black nor nearly white, where not a little is black: paper is not. Real
#: ones: 0.23 and more.
_LEAST_GREYS, _LEAST_BLACK = 0.15, 0.15
_NEARLY_BLACK, _NEARLY_WHITE = 6, 250
#: Several: a straight line from edge to edge, along which so much changes by so many levels within two pixels, not too
#: near an edge, with so many levels on both sides. Real single ones: 0.9 and less.
_LINE_SHARE, _LINE_STEP, _LINE_MARGIN, _LINE_RANGE = 0.95, 12, 0.2, 50

_SIDE = 256
_Levels = NDArray[np.int16]


def implausible(picture: Picture) -> tuple[str, ...]:
    """Return why a network's answer to this picture means nothing, as `WORDS`; nothing for nearly every radiograph.

    Where a picture is too small, too long or blank, nothing else is asked. What an X-ray device took is no page, and
    its file says which end of the scale is bone: light surroundings are what the lead kept unexposed, or a body that
    fills the picture.
    """
    height, width = picture.pixels.shape
    if max(height, width) < _LEAST_SIDE:
        return ("too-small",)
    if max(height, width) > _MOST_ASPECT * min(height, width):
        return ("extreme-aspect",)
    small = _reduced(picture.pixels)
    counts = np.bincount(small.ravel(), minlength=256) / small.size
    levels = small.astype(np.int16)
    if _is_blank(levels, counts):
        return ("blank",)
    found = ["colour"] if picture.chroma is not None and _has_hues(picture.chroma) else []
    rows, columns = _inside(levels)
    inside = levels[rows, columns]
    if _is_text(levels, counts):
        found.append("text")
    elif not picture.acquired and _is_inverted(inside, counts):
        found.append("inverted")
    elif counts[:_NEARLY_BLACK].sum() > _LEAST_BLACK and counts[_NEARLY_BLACK:_NEARLY_WHITE].sum() < _LEAST_GREYS:
        found.append("clipped")
    elif not picture.acquired and _is_page(levels, rows, columns, counts):
        found.append("screenshot")
    # Unmasked, what the lead kept unexposed is white and no second picture.
    lightest = _LIGHT_RING if picture.acquired else 255
    if not found and (_has_line(levels, lightest) or _has_line(levels.T, lightest)):
        found.append("several")
    return tuple(found)


def sentence_of(flags: Sequence[str]) -> str | None:
    """Say why an answer with these flags is no judgement of a radiograph, without a full stop; None where it is one."""
    words = [flag for flag in WORDS if flag in flags]
    if not words:
        return None
    reasons = ", ".join(WORDS[word] for word in words)
    start = "Not judged" if all(word in _UNFIT for word in words) else "Not judged as a radiograph"
    return f"{start}: {reasons}"


def _share(mask: NDArray[np.bool_]) -> float:
    """Return the share of pixels that are set: what `mean` says, at a fifth of its time."""
    return np.count_nonzero(mask) / mask.size


def _shares(mask: NDArray[np.bool_], *, axis: int) -> NDArray[np.float64]:
    """Return the share of set pixels along an axis of at most `_SIDE`: what `mean` says, at half its time."""
    shares: NDArray[np.float64] = mask.view(np.uint8).sum(axis=axis, dtype=np.uint16) / mask.shape[axis]
    return shares


def _reduced(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = pixels.shape
    share = min(1.0, _SIDE / max(height, width))
    size = (max(1, round(width * share)), max(1, round(height * share)))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX, reducing_gap=2.0))


def _is_blank(levels: _Levels, counts: NDArray[np.float64]) -> bool:
    below = np.cumsum(counts)
    if np.searchsorted(below, 0.99) - np.searchsorted(below, 0.01) < _LEAST_RANGE:
        return True
    around = levels[:-2, 1:-1] + levels[2:, 1:-1] + levels[1:-1, :-2] + levels[1:-1, 2:]
    return _share(np.abs(4 * levels[1:-1, 1:-1] - around) >= _LEAST_DETAIL) < 0.01


def _has_hues(chroma: NDArray[np.int16]) -> bool:
    blue, red = chroma[..., 0].astype(np.float32), chroma[..., 1].astype(np.float32)
    coloured = np.hypot(blue, red) > _COLOURED
    hues = np.floor((np.arctan2(red, blue)[coloured] + np.pi) * (36 / (2 * np.pi))).astype(np.int64) % 36
    tens = np.bincount(hues, minlength=36)
    most = np.convolve(np.concatenate([tens[-4:], tens, tens[:4]]), np.ones(9), "valid").max()
    return bool((len(hues) - most) / coloured.size > _MOST_HUES)


def _inside(levels: _Levels) -> tuple[slice, slice]:
    """Return where the picture is without its flat margins."""
    rows = _uneven(levels)
    return rows, _uneven(levels[rows].T)


def _uneven(rows: _Levels) -> slice:
    middle = (rows.sum(axis=1, dtype=np.int32) // rows.shape[1]).astype(np.int16)
    uneven = np.flatnonzero(_shares(np.abs(rows - middle[:, np.newaxis]) > _MARGIN_NOISE, axis=1) > 0.04)
    return slice(int(uneven[0]), int(uneven[-1]) + 1) if len(uneven) else slice(0, len(rows))


def _is_text(levels: _Levels, counts: NDArray[np.float64]) -> bool:
    background = int(np.convolve(counts, np.ones(2 * _BACKGROUND + 1), "same").argmax())
    away = np.abs(levels - background)
    if _share(away <= _BACKGROUND) < _TEXT_BACKGROUND:
        return False
    steps = np.maximum(np.abs(np.diff(levels, axis=1))[:-1], np.abs(np.diff(levels, axis=0))[:, :-1])
    if _share(steps > _FOREGROUND) < _TEXT_STEPS:
        return False
    foreground = thick = away > _FOREGROUND
    for _ in range(_THICKNESS):
        framed = np.pad(thick, 1, constant_values=True)
        thick = thick & framed[:-2, 1:-1] & framed[2:, 1:-1] & framed[1:-1, :-2] & framed[1:-1, 2:]
    return bool(thick.sum() < _TEXT_THICK * foreground.sum())


def _is_inverted(inside: _Levels, counts: NDArray[np.float64]) -> bool:
    # Of a page hardly anything is grey.
    greys = counts[30:225].sum()
    deep = max(1, round(0.06 * min(inside.shape)))
    ring = np.concatenate(
        [part.ravel() for part in (inside[:deep], inside[-deep:], inside[:, :deep], inside[:, -deep:])]
    )
    light = float(np.median(ring))
    return bool(light > _LIGHT_RING and inside.mean() < light - _DARKER and greys > _LEAST_GREYS)


def _is_page(levels: _Levels, rows: slice, columns: slice, counts: NDArray[np.float64]) -> bool:
    if counts[_NEARLY_WHITE - 10 :].sum() > _MOST_WHITE:
        return True
    height, width = levels.shape
    inside = levels[rows, columns]
    margin = levels.size - inside.size
    sides = (rows.start > 0) + (rows.stop < height) + (columns.start > 0) + (columns.stop < width)
    if sides < _LEAST_SIDES or margin < _MOST_MARGIN * levels.size:
        return False
    return bool((levels.sum(dtype=np.int64) - inside.sum(dtype=np.int64)) / margin > _MARGIN_LEVEL)


def _has_line(levels: _Levels, lightest: int) -> bool:
    """Whether a line runs through from top to bottom, between two sides of which a quarter is no lighter than that."""
    height, width = levels.shape
    if min(height, width) < _LEAST_SIDE // 2:
        return False
    changes = _shares(np.abs(levels[:, 2:] - levels[:, :-2]) >= _LINE_STEP, axis=0)
    first, last = int(_LINE_MARGIN * width), int((1 - _LINE_MARGIN) * width)
    for place in first + np.flatnonzero(changes[first:last] >= _LINE_SHARE):
        sides = levels[:, :place], levels[:, place + 3 :]
        if all(_is_picture(side, lightest) for side in sides):
            return True
    return False


def _is_picture(levels: _Levels, lightest: int) -> bool:
    darkest, dark, brightest = np.percentile(levels, (2, 25, 98))
    return bool(brightest - darkest > _LINE_RANGE and dark <= lightest)
