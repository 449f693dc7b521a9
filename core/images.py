"""Read image files: facts from the header, grey pixels from the whole.

`inspect` looks at the header only and refuses what must never be decoded; `decode` reads the pixels. Pillow does
the decoding, `core.dicom` that of DICOM; this module decides what is accepted, `core.grey` how every other pixel format
becomes 8-bit grey.

Sources: `verify()` misses truncated data (Pillow#3831, #6342), hence `load()`; Pillow only warns below twice its own
pixel limit, hence our check.
"""

from __future__ import annotations

import io
import math
import re

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from core.dicom.signs import is_bare, is_dicom
from core.errors import EmptyFile, ImageTooLarge, UnreadableImage, UnsupportedFormat
from core.grey import COLOURED, chroma, to_grey
from core.pictures import MAX_FRAMES, Frame, ImageFacts, Picture
from core.remarks import hush

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
#: Bits per sample of a decoded picture, by Pillow's mode.
_BITS = {"1": 1, "I;16": 16, "I;16B": 16, "I;16L": 16, "I;16N": 16, "I": 32, "F": 32}
#: Most scans of a JPEG. A progressive one has about ten; each costs its decoder a walk over the whole picture, so that
#: thousands in a file of a megabyte would keep it busy for minutes. Our choice: several such pictures in one MPO.
MAX_SCANS = 256
_START_OF_SCAN = b"\xff\xda"
#: WebP's decoder holds the picture several times, at four bytes a pixel each: 1.5 GB for 64 million (measured).
_WEBP_SHARE = 2
#: How the accepted formats begin: tells a damaged image from a file of another kind.
_BEGINNINGS = re.compile(rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff|II\*\0|MM\0\*|BM....\0\0\0\0|RIFF....WEBP", re.DOTALL)


def inspect(data: bytes, *, max_pixels: int) -> ImageFacts:
    """Read a file's header.

    Args:
        data: The file, whole.
        max_pixels: Largest accepted width x height of one frame.

    Raises:
        EmptyFile: No bytes.
        UnsupportedFormat: No JPEG, PNG, BMP, TIFF, WebP or DICOM, or more than `MAX_FRAMES` pages or `MAX_SCANS` scans.
        UnreadableImage: The header is damaged.
        ImageTooLarge: A frame has more than `max_pixels` pixels, as WebP more than half as many.
    """
    if is_dicom(data):
        from core.dicom import reading  # costs a quarter of a second, which installations without DICOM never pay

        return reading.inspect(data, max_pixels=max_pixels)
    with _open(data) as image:
        frames: list[Frame] = []
        while _seek(image, len(frames)):
            if len(frames) == MAX_FRAMES:
                raise UnsupportedFormat(f"The file has more than {MAX_FRAMES} pages; no more are accepted.")
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
    return _decode(data, max_pixels, frame, enough, colours=False).pixels


def decode_with_colours(data: bytes, *, max_pixels: int, frame: int = 0, enough: int | None = None) -> Picture:
    """Decode one frame to grey, and look at its colours coarsely.

    A JPEG is decoded a second time for them, to an eighth: of what decoding and a network take that is a tenth or less,
    and a third of what colours in full cost (docs/plausibility.md).

    Args:
        data: As `decode`; so are the others.
        max_pixels: Largest accepted width x height of one frame.
        frame: Page of a file with several, from 0.
        enough: Least longer side.

    Raises:
        RejectedImage: As `decode`.
    """
    return _decode(data, max_pixels, frame, enough, colours=True)


def _decode(data: bytes, max_pixels: int, frame: int, enough: int | None, *, colours: bool) -> Picture:
    if is_dicom(data):
        from core.dicom import pixels as dicom

        return dicom.decode(data, max_pixels=max_pixels, frame=frame)
    with _open(data) as image:
        if not _seek(image, frame):
            raise UnreadableImage(f"Page {frame + 1} of the file is missing.")
        _frame(image, max_pixels)
        try:
            colours = colours and image.mode in COLOURED
            _spare_work(image, enough)
            image.load()
            pixels = to_grey(image)
            if not colours:
                return Picture(pixels, None)
            return Picture(pixels, chroma(image if image.mode in COLOURED else _eighth(data)))
        except MemoryError:
            raise
        # Decoders raise almost anything on damaged bytes: OSError, SyntaxError, ValueError, struct.error, zlib.error.
        except Exception as error:
            raise UnreadableImage(f"The picture data are damaged or cut off ({_reason(error)}).") from error


def _eighth(data: bytes) -> Image.Image:
    """Decode a JPEG again, in colour and as coarsely as its decoder can."""
    image = Image.open(io.BytesIO(data), formats=["JPEG"])
    image.draft("RGB", (image.width // 8, image.height // 8))
    image.load()
    return image


def _open(data: bytes) -> Image.Image:
    if not data:
        raise EmptyFile
    hush()
    try:
        image = Image.open(io.BytesIO(data), formats=[name for name in FORMATS if name != "MPO"])
    except UnidentifiedImageError as error:
        if _BEGINNINGS.match(data):
            raise UnreadableImage(
                "The file begins as an image does, but its header is damaged, cut off or of a kind that cannot be read."
            ) from error
        if is_bare(data):
            raise UnreadableImage(
                "The file looks like DICOM without its file header; export it again as a DICOM file (PS3.10)."
            ) from error
        raise UnsupportedFormat from error
    except MemoryError:
        raise
    except Exception as error:  # a damaged header, in whichever way the plugin notices it
        raise UnreadableImage(f"The file's header is damaged ({_reason(error)}).") from error
    # Two such bytes begin a scan wherever they stand: within a scan every FF is followed by a zero.
    if image.format in ("JPEG", "MPO") and data.count(_START_OF_SCAN) > MAX_SCANS:
        image.close()
        raise UnsupportedFormat(f"The JPEG has more than {MAX_SCANS} scans; no more are accepted.")
    return image


def _seek(image: Image.Image, frame: int) -> bool:
    """Go to a page, from 0; return whether there is one. Only a TIFF has more than the first."""
    if frame == 0:
        return True
    if image.format != "TIFF":
        return False
    try:
        image.seek(frame)
    except EOFError:
        return False
    except MemoryError:
        raise
    except Exception as error:  # each page says where the next one is, so a damaged one shows here
        raise UnreadableImage(f"Page {frame + 1} of the file is damaged ({_reason(error)}).") from error
    return True


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
    most = max_pixels // _WEBP_SHARE if image.format == "WEBP" else max_pixels
    if width * height > most:
        raise ImageTooLarge(
            f"The picture is {width} x {height} pixels, {width * height / 1e6:.0f} million; "
            f"at most {most / 1e6:g} million are accepted{' as WebP' if most < max_pixels else ''}."
        )
    return Frame(width=width, height=height, bit_depth=_BITS.get(image.mode, 8))


def _reason(error: Exception) -> str:
    return str(error).strip().rstrip(".") or type(error).__name__
