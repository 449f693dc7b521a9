"""From a DICOM data set's stored pixels to 8-bit grey: 0 is black, bone is bright.

In the order of PS3.3: Modality LUT, then VOI LUT or window, then the inversion of MONOCHROME1 (inverting earlier was
cornerstone3D#2215). All three look at one pixel at a time, so pydicom's own functions make a table of every possible
level once, and the picture is looked up in it: the same numbers at a fraction of the time and memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.multival import MultiValue
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi, apply_windowing

from core.dicom import reading
from core.dicom.apart import decode_jpeg_ls
from core.dicom.codecs import DECODERS, IMAGECODECS, Shape, check_shape, is_jpeg_ls
from core.errors import UnreadableImage, UnsupportedFormat
from core.grey import CLIP_PERCENT, SAMPLED_PIXELS, STRIP_PIXELS
from core.pictures import Picture

#: What pixel data of a damaged file raise besides errors of ours: almost anything.
_DAMAGED = "The picture data of the DICOM file are damaged or cut off."
_VALUES = ("ModalityLUTSequence", "RescaleSlope", "RescaleIntercept")
_WINDOWS = ("VOILUTSequence", "WindowCenter", "WindowWidth", "VOILUTFunction")


def decode(data: bytes, *, max_pixels: int, frame: int = 0) -> Picture:
    """Decode one frame, to grey alone.

    Raises:
        RejectedImage: As `reading.inspect`, and when the pixel data are damaged or no decoder is installed.
    """
    dataset = reading.read(data)
    facts = reading.facts_of(dataset, max_pixels=max_pixels)
    if frame >= len(facts.frames):
        raise UnreadableImage(f"Frame {frame + 1} of the file is missing.")
    try:
        stored = _stored(dataset, frame)
        height, width = facts.frames[frame].height, facts.frames[frame].width
        if stored.shape[:2] != (height, width):
            raise UnreadableImage(_DAMAGED)
        pixels = _coloured(dataset, stored) if _is_coloured(dataset) else _grey(dataset, stored, frame)
        return Picture(pixels, None, acquired=not reading.is_capture(dataset))
    except (MemoryError, UnreadableImage, UnsupportedFormat):
        raise
    except Exception as error:
        raise UnreadableImage(_DAMAGED) from error


def _stored(dataset: Dataset, frame: int) -> NDArray[Any]:
    """Return (height, width) of the stored levels, or (height, width, 3) of 8-bit RGB."""
    syntax = str(dataset.file_meta.TransferSyntaxUID)
    decoder, name = get_decoder(syntax), DECODERS.get(syntax)
    if name is None:
        return decoder.as_array(dataset, index=frame)[0]
    if name not in decoder.available_plugins and (name != IMAGECODECS or find_spec(name) is None):
        raise UnsupportedFormat(
            f"The decoder of this DICOM file's compression ({name}) is not installed; "
            "install Fracture Queue with its dependencies again."
        )
    stream = get_frame(dataset.PixelData, frame, number_of_frames=reading.number(dataset, "NumberOfFrames", 1))
    samples = reading.number(dataset, "SamplesPerPixel", 1)
    check_shape(syntax, stream, Shape(dataset.Columns, dataset.Rows, samples))
    if name == IMAGECODECS:
        return _with_imagecodecs(dataset, stream, coloured=samples > 1)
    del stream
    return decoder.as_array(dataset, index=frame, decoding_plugin=name)[0]


def _with_imagecodecs(dataset: Dataset, stream: bytes, *, coloured: bool) -> NDArray[Any]:
    """Decode JPEG of any precision, lossless or not, and JPEG-LS."""
    import imagecodecs

    said = reading.words(dataset, "PhotometricInterpretation")
    if is_jpeg_ls(str(dataset.file_meta.TransferSyntaxUID)):
        levels = decode_jpeg_ls(stream)
        if coloured:
            return levels if said == "RGB" else levels[..., :1].repeat(3, axis=-1)  # the brightness alone
    elif coloured:
        stored = "RGB" if said == "RGB" else "YCBCR"
        return np.asarray(imagecodecs.jpeg8_decode(stream, colorspace=stored, outcolorspace="RGB"))
    else:
        levels = np.asarray(imagecodecs.jpeg8_decode(stream))
    if levels.dtype.itemsize != dataset.BitsAllocated // 8:
        levels = levels.astype(f"u{dataset.BitsAllocated // 8}")
    if reading.number(dataset, "PixelRepresentation") != 1:
        return levels
    # The sign stands in the highest stored bit: to the top of the word, and back with it.
    unused = dataset.BitsAllocated - dataset.BitsStored
    signed: NDArray[Any] = (levels << unused).view(f"i{levels.dtype.itemsize}") >> unused
    return signed


def _is_coloured(dataset: Dataset) -> bool:
    return not reading.words(dataset, "PhotometricInterpretation").startswith("MONOCHROME")


def _coloured(dataset: Dataset, stored: NDArray[Any]) -> NDArray[np.uint8]:
    """Turn colours to grey; they have no window."""
    palette = reading.words(dataset, "PhotometricInterpretation") == "PALETTE COLOR"
    grey = np.empty(stored.shape[:2], dtype=np.uint8)
    for part in _strips(grey):
        strip = stored[part]
        if palette:
            strip = apply_color_lut(strip, dataset)
            strip = (strip >> 8).astype(np.uint8) if strip.dtype.itemsize > 1 else strip
        grey[part] = np.asarray(Image.fromarray(np.ascontiguousarray(strip[..., :3])).convert("L"))
    return grey


def _grey(dataset: Dataset, stored: NDArray[Any], frame: int) -> NDArray[np.uint8]:
    if stored.dtype.kind not in "iu" or stored.dtype.itemsize > 2:
        raise UnsupportedFormat("Pictures of more than 16 bits cannot be read.")
    transform = _transform(dataset, frame)
    unsigned = np.dtype(f"u{stored.dtype.itemsize}")
    levels = np.arange(2 ** (8 * stored.dtype.itemsize)).astype(unsigned).view(stored.dtype.newbyteorder("="))
    values = np.asarray(apply_modality_lut(levels, transform))
    table = _by_window(values, transform)
    if table is None:
        table = _by_range(values, stored, transform)
    if reading.words(dataset, "PhotometricInterpretation") == "MONOCHROME1":
        table = 255 - table
    grey = np.empty(stored.shape, dtype=np.uint8)
    for part in _strips(grey):
        grey[part] = table[stored[part].astype(stored.dtype.newbyteorder("="), copy=False).view(unsigned)]
    return grey


def _transform(dataset: Dataset, frame: int) -> Dataset:
    """Gather what says how levels become brightness; a file of several frames may say it for each of them."""
    found = Dataset()
    found.file_meta = dataset.file_meta
    found.PhotometricInterpretation = "MONOCHROME2"
    found.BitsStored = reading.number(dataset, "BitsStored")
    found.PixelRepresentation = reading.number(dataset, "PixelRepresentation")
    groups = [*reading.items_of(dataset, "SharedFunctionalGroupsSequence")[:1]]
    groups += reading.items_of(dataset, "PerFrameFunctionalGroupsSequence")[frame : frame + 1]
    places: list[tuple[Dataset, tuple[str, ...]]] = [(dataset, (*_VALUES, *_WINDOWS))]
    for group in groups:
        places += [(item, _VALUES) for item in reading.items_of(group, "PixelValueTransformationSequence")[:1]]
        places += [(item, _WINDOWS) for item in reading.items_of(group, "FrameVOILUTSequence")[:1]]
    for place, names in places:
        for name in names:
            value = reading.items_of(place, name)[:1] if name.endswith("Sequence") else _number(place, name)
            if value not in (None, ()):
                setattr(found, name, list(value) if isinstance(value, tuple) else value)
    return found


def _number(dataset: Dataset, name: str) -> float | str | None:
    """Return a finite number, the first of several, or the window's function; None where it is missing or damaged."""
    if name == "VOILUTFunction":
        return reading.words(dataset, name) or None
    try:
        value = dataset.get(name)
        number = float(value[0] if isinstance(value, MultiValue | list | tuple) else value)
    except Exception:  # pydicom converts values only now, and raises almost anything
        return None
    return number if math.isfinite(number) else None


def _by_window(values: NDArray[Any], transform: Dataset) -> NDArray[np.uint8] | None:
    """Map every level by the VOI LUT, else by the window; None where the file has neither, or a damaged one."""
    try:
        if transform.get("VOILUTSequence"):
            bits = transform.VOILUTSequence[0].LUTDescriptor[2]
            shown, low, high = apply_voi(np.rint(values).astype(np.int64), transform), 0.0, 2.0**bits - 1
        elif "WindowCenter" in transform and "WindowWidth" in transform:
            # What lies endlessly below and above the window tells the range that it is mapped to.
            ends = np.append(values.astype(np.float64), (-np.inf, np.inf))
            shown = apply_windowing(ends, transform)
            shown, low, high = shown[:-2], float(shown[-2]), float(shown[-1])
        else:
            return None
        if not high > low:
            low, high = high, low
        return _to_bytes(shown, low, high)
    except MemoryError:
        raise
    except Exception:  # a lookup table of a length that it does not have, a window of no width
        return None


def _by_range(values: NDArray[Any], stored: NDArray[Any], transform: Dataset) -> NDArray[np.uint8]:
    """Map levels without a window: 8 bits as they are, more between the clipping percentiles, as core/grey.py does."""
    as_they_are = stored.dtype.itemsize == 1 and not any(name in transform for name in _VALUES)
    if as_they_are and stored.dtype.kind == "u":
        return _to_bytes(values, 0.0, 2.0**transform.BitsStored - 1)
    step = math.ceil(math.sqrt(stored.size / SAMPLED_PIXELS))
    unsigned = np.dtype(f"u{stored.dtype.itemsize}")
    sample = stored[::step, ::step].astype(stored.dtype.newbyteorder("=")).view(unsigned).ravel()
    counts = np.bincount(sample, minlength=len(values))
    order = np.argsort(values, kind="stable")
    share = np.cumsum(counts[order]) / sample.size * 100
    low = float(values[order][np.searchsorted(share, CLIP_PERCENT, side="right")])
    high = float(values[order][np.searchsorted(share, 100 - CLIP_PERCENT)])
    if high <= low:
        there = values[counts > 0]
        low, high = float(there.min()), float(there.max())
    return _to_bytes(values, low, high)


def _to_bytes(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    if not high > low:
        return np.zeros(values.shape, dtype=np.uint8)
    share = (np.clip(values.astype(np.float64), low, high) - low) / (high - low)
    return np.rint(np.nan_to_num(share) * 255).astype(np.uint8)


def _strips(grey: NDArray[np.uint8]) -> Iterator[slice]:
    """Yield parts of a picture, since a lookup needs eight bytes a pixel for a moment."""
    height, width = grey.shape
    rows = max(1, STRIP_PIXELS // width)
    return (slice(top, top + rows) for top in range(0, height, rows))
