"""Every pixel format becomes 8-bit grey: 0 is black, bone is bright as in the file.

Large pictures are converted strip by strip: Pillow holds most formats at four bytes a pixel, and whole copies of 64
million pixels took up to 1.6 GB (measured on deep TIFFs); strips keep the peak near what decoding itself needs.

Source: 16-bit pictures turn white under `convert("L")` (Pillow#3011, #5991).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

#: Grey levels kept when more than 8 bits are reduced: the darkest and the brightest 0.05 % are clipped, so that one
#: hot pixel or a burnt-in marker does not flatten the rest. Our choice.
CLIP_PERCENT = 0.05
#: Pixels that are converted at once.
STRIP_PIXELS = 4_000_000
#: Pixels that the clipping percentiles are computed from; of a larger picture every second in both directions, or
#: every third and so on. Our choice: 0.05 % of what is left are still thousands.
SAMPLED_PIXELS = 16_000_000
#: Pillow's modes that may hold colours.
COLOURED = ("RGB", "RGBA", "RGBX", "RGBa", "P", "PA", "CMYK", "YCbCr", "LAB", "HSV")
#: Longest side that colours are looked at on, in pixels.
_CHROMA_SIDE = 96
_WHITE_IS_ZERO = 0
_UNSIGNED = 1
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def to_grey(image: Image.Image) -> NDArray[np.uint8]:
    """Convert a loaded picture.

    Returns:
        (height, width) uint8, EXIF orientation applied. Pictures of more than 8 bits are stretched from their own
        darkest to their own brightest level, so that no range is lost.
    """
    turn = _turn(image)
    grey = np.empty((image.height, image.width), dtype=np.uint8)
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        _stretch(image, grey)
    else:
        for top, strip in _strips(image):
            grey[top : top + strip.height] = _shallow(strip)
    # Turned last, when a pixel is one byte and no longer four.
    return grey if turn is None else np.array(Image.fromarray(grey).transpose(turn))


def chroma(image: Image.Image) -> NDArray[np.int16]:
    """Return the colours of a loaded picture, coarsely.

    Returns:
        (height, width, 2), at most 96 a side: how much bluer and how much redder than grey, -128 to 127. The
        EXIF orientation does not matter here.
    """
    share = min(1.0, _CHROMA_SIDE / max(image.size))
    size = (max(1, round(image.width * share)), max(1, round(image.height * share)))
    # Every n-th pixel, so that a large picture is never held twice; then as many as are wanted, mixed.
    few = image.resize((min(image.width, 4 * size[0]), min(image.height, 4 * size[1])), Image.Resampling.NEAREST)
    mixed = few.convert("RGB").resize(size, Image.Resampling.BOX).convert("YCbCr")
    return np.asarray(mixed)[:, :, 1:].astype(np.int16) - 128


def _turn(image: Image.Image) -> Image.Transpose | None:
    """Return how the EXIF data want the picture turned; damaged ones say nothing, and the picture is shown as it is."""
    try:
        return _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except MemoryError:
        raise
    except Exception:  # the parser raises almost anything
        return None


def _strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    rows = max(1, STRIP_PIXELS // image.width)
    if rows >= image.height:
        yield 0, image
        return
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def _shallow(image: Image.Image) -> NDArray[np.uint8]:
    """Convert a picture of at most 8 bits a sample; what is transparent becomes black."""
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    elif image.mode in ("P", "CMYK", "LAB", "HSV"):
        image = image.convert("RGB")
    return np.asarray(image.convert("L"), dtype=np.uint8)


def _stretch(image: Image.Image, grey: NDArray[np.uint8]) -> None:
    """Map levels of any range to 0-255 in `grey`, linearly between the clipping percentiles."""
    unsigned, white_is_zero = _is_unsigned(image), _is_white_zero(image)
    step = math.ceil(math.sqrt(image.width * image.height / SAMPLED_PIXELS))
    sampled = [_levels(strip, unsigned)[::step, ::step].ravel() for _, strip in _strips(image)]
    sample = np.concatenate(sampled)
    low, high = np.percentile(sample, (CLIP_PERCENT, 100 - CLIP_PERCENT))
    if high <= low:
        low, high = float(sample.min()), float(sample.max())
    for top, strip in _strips(image):
        part = grey[top : top + strip.height]
        if high <= low:
            part[:] = 0
        else:
            levels = np.clip(_levels(strip, unsigned), low, high)
            part[:] = np.rint((levels - low) * (255.0 / (high - low)))
        if white_is_zero:  # Pillow inverts those of 8 bits itself, but not these
            np.subtract(255, part, out=part)


def _levels(image: Image.Image, unsigned: bool) -> NDArray[np.float64]:
    """Return (height, width) float64, wide enough for every integer; what is no number, or endless, counts as 0."""
    levels: NDArray[Any] = np.asarray(image)
    if unsigned:
        levels = levels.view(np.uint32)
    with np.errstate(invalid="ignore"):  # a signalling NaN would be warned of
        wide = levels.astype(np.float64)
    return np.nan_to_num(wide, copy=False, posinf=0.0, neginf=0.0)


def _is_unsigned(image: Image.Image) -> bool:
    """Tell whether Pillow read unsigned 32-bit levels, which it keeps in signed ones: from 2**31 on they wrap round."""
    if image.mode != "I":
        return False
    kinds = _tags(image).get(ExifTags.Base.SampleFormat, (_UNSIGNED,))
    bits = _tags(image).get(ExifTags.Base.BitsPerSample)
    return bool(bits == (32,) and kinds == (_UNSIGNED,))


def _is_white_zero(image: Image.Image) -> bool:
    return bool(_tags(image).get(ExifTags.Base.PhotometricInterpretation) == _WHITE_IS_ZERO)


def _tags(image: Image.Image) -> Any:
    """Return a TIFF's tags by number; nothing for other formats."""
    return getattr(image, "tag_v2", None) or {}
