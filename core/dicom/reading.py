"""Read a DICOM file's data set and what it says of its pictures, in bounded time and memory.

pydicom does the reading; this module decides what is accepted. No sentence and no log line repeats what stands in the
file: any of its texts may be a patient's name.
"""

from __future__ import annotations

import io
import logging
import math
import re
import warnings
import zlib
from collections.abc import Sequence
from typing import Any

import pydicom
from pydicom import config
from pydicom.dataset import Dataset

from core.dicom.codecs import DECODERS, NATIVE
from core.dicom.signs import MEDIA_TYPE
from core.errors import ImageTooLarge, UnreadableImage, UnsupportedFormat, WrongModality
from core.pictures import MAX_FRAMES, DicomFacts, Frame, ImageFacts

#: Reads of a header's pieces, about three for each element; a radiograph has some hundred. Our choice.
_MOST_READS = 200_000
#: A sequence that is opened later, in bytes; the largest that we need is a lookup table of 128 KiB.
MOST_SEQUENCE_BYTES = 2**20
#: Most bytes that a deflated data set may become.
_MOST_INFLATED = 512 * 2**20
_INFLATED_AT_ONCE = 2**20
_META_AT, _MOST_META_BYTES = 132, 2**16
DEFLATED = b"1.2.840.10008.1.2.1.99"

MODALITIES = ("CR", "DX", "RF", "MG", "XA")
#: What secondary captures call themselves.
_CAPTURES = ("OT", "SC", "")
_CAPTURE_CLASS = "1.2.840.10008.5.1.4.1.1.7"
_OTHER_MODALITIES = {
    "CT": "computed tomography",
    "MR": "magnetic resonance",
    "US": "ultrasound",
    "NM": "nuclear medicine",
    "PT": "positron emission tomography",
    "ECG": "an electrocardiogram",
    "ES": "endoscopy",
    "OP": "ophthalmology",
    "OCT": "optical coherence tomography",
    "IO": "intra-oral radiography",
    "PX": "panoramic radiography",
    "BMD": "bone densitometry",
    "RG": "radiographic imaging on film",
    "SM": "microscopy",
    "SR": "a report",
    "PR": "a presentation state",
    "KO": "a selection of objects",
    "SEG": "a segmentation",
    "DOC": "a document",
    "RTPLAN": "a radiotherapy plan",
    "RTDOSE": "a radiotherapy dose",
    "RTSTRUCT": "radiotherapy structures",
    "RTIMAGE": "a radiotherapy image",
}
_TAKEN = "of DICOM only CR, DX, RF, MG, XA and secondary captures are taken."
_GREY = ("MONOCHROME1", "MONOCHROME2")
_COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "PALETTE COLOR")
_CODE = re.compile(r"[A-Z][A-Z0-9 _/+-]{0,15}")


class _TooManyPieces(Exception):
    """The header has more elements than any radiograph."""


class Bounded(io.BytesIO):
    """A file of which only so many pieces are read."""

    reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        """Read as any file does, until the limit."""
        self.reads += 1
        if self.reads > _MOST_READS:
            raise _TooManyPieces
        return super().read(size)


def hush() -> None:
    """Keep what pydicom remarks on values out of the logs: it repeats them. Cheap enough for every file."""
    config.settings.reading_validation_mode = config.IGNORE
    config.settings.writing_validation_mode = config.IGNORE
    for name in ("pydicom", "pylibjpeg"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    wanted = ("ignore", None, Warning, re.compile(r"pydicom|libjpeg|openjpeg|jpeg_ls|rle"), 0)
    if wanted not in warnings.filters:
        warnings.filterwarnings("ignore", category=Warning, module=r"pydicom|libjpeg|openjpeg|jpeg_ls|rle")


def read(data: bytes) -> Dataset:
    """Read a data set, whole.

    Raises:
        UnreadableImage: It is damaged or cut off.
        ImageTooLarge: Deflated, it becomes too much.
    """
    hush()
    try:
        _bound_deflated(data)
        return pydicom.dcmread(Bounded(data))
    except (MemoryError, ImageTooLarge):
        raise
    except _TooManyPieces:
        raise UnreadableImage("The DICOM header has more elements than any radiograph.") from None
    except Exception:  # the parser raises almost anything, and says what stands in the file
        raise UnreadableImage("The DICOM file is damaged or cut off: its header cannot be read.") from None


def inspect(data: bytes, *, max_pixels: int) -> ImageFacts:
    """Read a DICOM file's header.

    Raises:
        RejectedImage: It is damaged, no radiograph, or larger than is accepted.
    """
    return facts_of(read(data), max_pixels=max_pixels)


def facts_of(dataset: Dataset, *, max_pixels: int) -> ImageFacts:
    """Say what a data set holds.

    Raises:
        RejectedImage: It is damaged, no radiograph, or larger than is accepted.
    """
    modality = _refuse_other_modalities(dataset)
    if "PixelData" not in dataset:
        if any(name in dataset for name in ("FloatPixelData", "DoubleFloatPixelData")):
            raise UnsupportedFormat("The DICOM file holds a map of measured values, not a picture.")
        raise UnreadableImage("The DICOM file has no picture in it.")
    syntax = str(dataset.file_meta.get("TransferSyntaxUID", ""))
    if syntax not in NATIVE and syntax not in DECODERS:
        raise UnsupportedFormat("The DICOM file is compressed in a way that cannot be read here.")
    width, height = number(dataset, "Columns"), number(dataset, "Rows")
    bits, stored = number(dataset, "BitsAllocated"), number(dataset, "BitsStored")
    frames = number(dataset, "NumberOfFrames", 1)
    if width < 1 or height < 1:
        raise UnreadableImage("The DICOM header does not say how large its picture is.")
    if frames > MAX_FRAMES:
        raise UnsupportedFormat(f"The file has more than {MAX_FRAMES} frames; no more are accepted.")
    if frames < 1:
        raise UnreadableImage("The DICOM header says that the file has no frames.")
    if width * height > max_pixels:
        raise ImageTooLarge(
            f"The picture is {width} x {height} pixels, {width * height / 1e6:.0f} million; "
            f"at most {max_pixels / 1e6:g} million are accepted."
        )
    if bits not in (1, 8, 16) or not 1 <= stored <= bits:
        raise UnsupportedFormat(f"Pictures of {stored} in {bits} bits cannot be read; DICOM of 1 to 16 bits can.")
    _refuse_odd_colours(dataset, bits)
    _refuse_cut_off(dataset)
    return ImageFacts(
        media_type=MEDIA_TYPE,
        frames=(Frame(width=width, height=height, bit_depth=stored),) * frames,
        dicom=DicomFacts(
            modality=modality,
            body_part=_code(dataset, "BodyPartExamined"),
            laterality=_code(dataset, "ImageLaterality") or _code(dataset, "Laterality"),
            view=_code(dataset, "ViewPosition"),
            **_spacing(dataset),
            burned_in=_burned_in(dataset),
        ),
    )


def number(dataset: Dataset, name: str, missing: int = 0) -> int:
    """Return a whole number of a header; one that is none counts as missing."""
    try:
        value = dataset.get(name)
        return missing if value is None else int(value)
    except (TypeError, ValueError, OverflowError):
        return missing
    except Exception:  # pydicom's own ways to say that a value is damaged
        return missing


def text(dataset: Dataset, name: str) -> str:
    """Return a text of a header; a damaged one counts as missing."""
    try:
        value = dataset.get(name)
        return "" if value is None else str(value).strip()
    except Exception:  # the value is converted only now
        return ""


def words(dataset: Dataset, name: str) -> str:
    """Return a short text of a header in upper case; a damaged one counts as missing."""
    return text(dataset, name).upper()


def is_capture(dataset: Dataset) -> bool:
    """Whether the picture is a secondary capture: scanned, taken off a screen, or converted by some program."""
    kind = words(dataset, "SOPClassUID")
    return kind == _CAPTURE_CLASS or kind.startswith(f"{_CAPTURE_CLASS}.")


def _refuse_other_modalities(dataset: Dataset) -> str:
    modality = words(dataset, "Modality")
    if modality in MODALITIES:
        return modality
    if modality in _CAPTURES and is_capture(dataset):
        return "SC"
    if modality in _OTHER_MODALITIES:
        raise WrongModality(f"The DICOM file is {modality} ({_OTHER_MODALITIES[modality]}); {_TAKEN}")
    if not modality and "PixelData" not in dataset:
        raise UnreadableImage("The DICOM file has no picture in it.")
    # Not the word itself, which may be anything.
    raise WrongModality(f"The DICOM file does not say that it is a radiograph; {_TAKEN}")


def _refuse_odd_colours(dataset: Dataset, bits: int) -> None:
    kind, samples = words(dataset, "PhotometricInterpretation"), number(dataset, "SamplesPerPixel", 1)
    if kind in _GREY and samples == 1:
        return
    if kind not in _COLOURS or bits != 8 or samples != (1 if kind == "PALETTE COLOR" else 3):
        raise UnsupportedFormat("The DICOM file's colours are of a kind that cannot be read; grey, RGB and YBR can.")


def native_bytes(dataset: Dataset) -> int:
    """Return how many bytes uncompressed pixel data have."""
    # Halved colours: two samples a pixel on average.
    halved = words(dataset, "PhotometricInterpretation") == "YBR_FULL_422"
    samples = 2 if halved else number(dataset, "SamplesPerPixel", 1)
    pixels = number(dataset, "Columns") * number(dataset, "Rows") * number(dataset, "NumberOfFrames", 1)
    return math.ceil(pixels * samples * number(dataset, "BitsAllocated") / 8)


def _refuse_cut_off(dataset: Dataset) -> None:
    """Compressed pictures show only in decoding whether they are whole."""
    if str(dataset.file_meta.TransferSyntaxUID) not in NATIVE:
        return
    expected = native_bytes(dataset)
    try:
        found = len(dataset.PixelData)
    except MemoryError:
        raise
    except Exception:  # pydicom reads elements when they are asked for, and damaged ones raise almost anything
        found = 0
    if found < expected:
        raise UnreadableImage(f"The picture data are cut off: {found} of {expected} bytes are there.")


def _code(dataset: Dataset, name: str) -> str | None:
    value = words(dataset, name)
    return value if _CODE.fullmatch(value) else None


def _spacing(dataset: Dataset) -> dict[str, Any]:
    for name in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        try:
            values = [float(value) for value in dataset.get(name) or ()]
        except MemoryError:
            raise
        except Exception:  # a damaged value is no value  # noqa: S112
            continue
        if len(values) == 2 and all(math.isfinite(value) and 0 < value < 1000 for value in values):
            return {"spacing_mm": (values[0], values[1]), "calibrated": name == "PixelSpacing"}
    return {"spacing_mm": None, "calibrated": False}


def _burned_in(dataset: Dataset) -> str | None:
    """Say whether text in the picture itself may name the patient, where that can be told."""
    said = words(dataset, "BurnedInAnnotation")
    if said == "YES":
        return "yes"
    captured = words(dataset, "SOPClassUID").startswith(_CAPTURE_CLASS)
    return "perhaps" if captured and said != "NO" else None


def _bound_deflated(data: bytes) -> None:
    """Refuse a deflated data set that becomes too much, before pydicom inflates it at once."""
    # The file header tells its own length, and is never deflated itself.
    start = _META_AT + 12 + int.from_bytes(data[_META_AT + 8 : _META_AT + 12], "little")
    if DEFLATED not in data[_META_AT : min(start, _MOST_META_BYTES)]:
        return
    inflater, size, rest = zlib.decompressobj(-zlib.MAX_WBITS), 0, data[start:]
    while rest and not inflater.eof:
        size += len(inflater.decompress(rest, _INFLATED_AT_ONCE))
        rest = inflater.unconsumed_tail
        if size > _MOST_INFLATED:
            raise ImageTooLarge(f"The DICOM file becomes more than {_MOST_INFLATED // 2**20} MiB when it is unpacked.")


def items_of(dataset: Dataset, name: str) -> Sequence[Dataset]:
    """Return a sequence's items; one that is damaged or far too large has none."""
    try:
        raw = dataset.get_item(name)
        value = None if raw is None else raw.value
        if isinstance(value, bytes) and len(value) > MOST_SEQUENCE_BYTES:
            return ()
        return tuple(dataset.get(name) or ())
    except MemoryError:
        raise
    except Exception:  # likewise
        return ()
