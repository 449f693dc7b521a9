"""Read image files: facts from the header, grey pixels from the whole.

`inspect` looks at the header only and refuses what must never be decoded; `decode` reads the pixels. Pillow does
the decoding; this module decides what is accepted and how every pixel format becomes 8-bit grey.

Sources: 16-bit pictures turn white under `convert("L")` (Pillow#3011, #5991); `verify()` misses truncated data
(Pillow#3831, #6342), hence `load()`; Pillow only warns below twice its own pixel limit, hence our check.
"""

from __future__ import annotations

import io
import math
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from core.errors import EmptyFile, ImageTooLarge, UnreadableImage, UnsupportedFormat

# Our own check in `inspect` is stricter and comes before any decoding; Pillow's would only warn up to twice its limit.
Image.MAX_IMAGE_PIXELS = None

FORMATS = {
    "JPEG": "image/jpeg",
    "MPO": "image/jpeg",  # a JPEG with further pictures behind the first, as some cameras write; the first counts
    "PNG": "image/png",
    "BMP": "image/bmp",
    "TIFF": "image/tiff",
    "WEBP": "image/webp",
}
#: Most pages that one TIFF may bring. Our choice: far above any study of one body part.
MAX_FRAMES = 64
#: Bits per sample of a decoded picture, by Pillow's mode.
_BITS = {"1": 1, "I;16": 16, "I;16B": 16, "I;16L": 16, "I;16N": 16, "I": 32, "F": 32}
#: Grey levels kept when more than 8 bits are reduced: the darkest and the brightest 0.05 % are clipped, so that one
#: hot pixel or a burnt-in marker does not flatten the rest. Our choice.
_CLIP_PERCENT = 0.05
#: How the accepted formats begin: tells a damaged image from a file of another kind.
_BEGINNINGS = re.compile(rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff|II\*\0|MM\0\*|BM....\0\0\0\0|RIFF....WEBP", re.DOTALL)
_WHITE_IS_ZERO = 0
_PHOTOMETRIC_INTERPRETATION = 262


@dataclass(frozen=True)
class Frame:
    """One picture of a file, as its header describes it."""

    width: int  # pixels, before any EXIF rotation (of a TIFF after it: Pillow turns those by itself)
    height: int
    bit_depth: int  # bits per sample


@dataclass(frozen=True)
class ImageFacts:
    """What the header says, before anything is decoded."""

    media_type: str
    frames: tuple[Frame, ...]  # several only for a TIFF with several pages


def inspect(data: bytes, *, max_pixels: int) -> ImageFacts:
    """Read a file's header.

    Args:
        data: The file, whole.
        max_pixels: Largest accepted width x height of one frame.

    Raises:
        EmptyFile: No bytes.
        UnsupportedFormat: No JPEG, PNG, BMP, TIFF or WebP, or more than `MAX_FRAMES` pages.
        UnreadableImage: The header is damaged.
        ImageTooLarge: A frame has more than `max_pixels` pixels.
    """
    with _open(data) as image:
        pages = _count_pages(image)
        if pages > MAX_FRAMES:
            raise UnsupportedFormat(f"The file has {pages} pages; at most {MAX_FRAMES} are accepted.")
        frames = []
        for page in range(pages):
            _seek(image, page)
            frames.append(_frame(image, max_pixels))
        return ImageFacts(media_type=FORMATS[image.format or ""], frames=tuple(frames))


def decode(data: bytes, *, max_pixels: int, frame: int = 0, enough: int | None = None) -> NDArray[np.uint8]:
    """Decode one frame to grey.

    Args:
        data: The file, whole.
        max_pixels: Largest accepted width x height of one frame.
        frame: Page of a file with several, from 0.
        enough: Where given, the longer side may be less than the file's but not less than this many pixels: a JPEG is
            then decoded to a half, a quarter or an eighth, which costs that much less.

    Returns:
        (height, width) uint8, EXIF orientation applied; 0 is black, bone is bright as in the file. Pictures of more
        than 8 bits are stretched from their own darkest to their own brightest level, so that no range is lost.

    Raises:
        RejectedImage: As `inspect`, and `UnreadableImage` when the pixel data are damaged or cut off.
    """
    with _open(data) as image:
        _seek(image, frame)
        _frame(image, max_pixels)
        try:
            _spare_work(image, enough)
            image.load()
            white_is_zero = _is_white_zero(image)  # asked before the turn: a turned picture has lost its tags
            return _to_grey(ImageOps.exif_transpose(image), white_is_zero=white_is_zero)
        except MemoryError:
            raise
        # Decoders raise almost anything on damaged bytes: OSError, SyntaxError, ValueError, struct.error, zlib.error.
        except Exception as error:
            raise UnreadableImage(f"The picture data are damaged or cut off ({_reason(error)}).") from error


def _open(data: bytes) -> Image.Image:
    if not data:
        raise EmptyFile
    try:
        return Image.open(io.BytesIO(data), formats=[name for name in FORMATS if name != "MPO"])
    except UnidentifiedImageError as error:
        if _BEGINNINGS.match(data):
            raise UnreadableImage(
                "The file begins as an image does, but its header is damaged, cut off or of a kind that cannot be read."
            ) from error
        raise UnsupportedFormat from error
    except MemoryError:
        raise
    except Exception as error:  # a damaged header, in whichever way the plugin notices it
        raise UnreadableImage(f"The file's header is damaged ({_reason(error)}).") from error


def _count_pages(image: Image.Image) -> int:
    if image.format != "TIFF":
        return 1
    try:
        return int(getattr(image, "n_frames", 1))
    except MemoryError:
        raise
    except Exception as error:  # the list of pages is read page by page, so a damaged page shows here
        raise UnreadableImage(f"The file's list of pages is damaged ({_reason(error)}).") from error


def _seek(image: Image.Image, frame: int) -> None:
    try:
        if frame:
            image.seek(frame)
    except MemoryError:
        raise
    except Exception as error:
        raise UnreadableImage(f"Page {frame + 1} of the file is damaged ({_reason(error)}).") from error


def _spare_work(image: Image.Image, enough: int | None) -> None:
    """Let a JPEG's decoder leave out what is thrown away later: colours, and detail far finer than is looked at.

    Colours left out by the decoder or after it differ by one grey level at most, but where a colour was out of range.
    """
    if image.format == "JPEG" and image.mode in ("L", "RGB"):
        longer = max(image.size)
        share = 1.0 if enough is None else min(1.0, enough / longer)
        image.draft("L", (math.ceil(image.width * share), math.ceil(image.height * share)))


def _frame(image: Image.Image, max_pixels: int) -> Frame:
    width, height = image.size
    if width < 1 or height < 1:
        raise UnreadableImage(f"The picture is {width} x {height} pixels: it has no area.")
    if width * height > max_pixels:
        raise ImageTooLarge(
            f"The picture is {width} x {height} pixels, {width * height / 1e6:.0f} million; "
            f"at most {max_pixels / 1e6:g} million are accepted."
        )
    return Frame(width=width, height=height, bit_depth=_BITS.get(image.mode, 8))


def _is_white_zero(image: Image.Image) -> bool:
    tags = getattr(image, "tag_v2", None) or {}
    return bool(tags.get(_PHOTOMETRIC_INTERPRETATION) == _WHITE_IS_ZERO)


def _to_grey(image: Image.Image, *, white_is_zero: bool) -> NDArray[np.uint8]:
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        levels = _stretch(np.asarray(image))
        if white_is_zero:  # Pillow inverts those of 8 bits itself, but not these
            np.subtract(255, levels, out=levels)
        return levels
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    elif image.mode in ("P", "CMYK", "LAB", "HSV"):
        image = image.convert("RGB")
    return np.array(image.convert("L"), dtype=np.uint8)


def _stretch(levels: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Map (height, width) levels of any range to 0-255, linearly between the clipping percentiles."""
    values = np.nan_to_num(levels.astype(np.float32), posinf=0.0, neginf=0.0)
    low, high = np.percentile(values, (_CLIP_PERCENT, 100 - _CLIP_PERCENT))
    if high <= low:
        low, high = float(values.min()), float(values.max())
    if high <= low:
        return np.zeros(values.shape, dtype=np.uint8)
    scaled: NDArray[np.uint8] = np.rint(np.clip((values - low) * (255.0 / (high - low)), 0, 255)).astype(np.uint8)
    return scaled


def _reason(error: Exception) -> str:
    return str(error).strip().rstrip(".") or type(error).__name__
