"""Each DICOM file that is tried: the real ones and made ones, and what should become of it.

`docs/dicom.md` shows them with what did become of them; `tests/unit/test_dicom.py` holds the page to that.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from core import images
from core.errors import RejectedImage
from tests.dicom_files import CAPTURE, compressed, dataset, dicom, ramp, written

MAX_PIXELS = 64_000_000
READ = "read"


@dataclass(frozen=True)
class Case:
    """One file."""

    name: str
    what: str
    expected: str  # "read", or the code of the refusal
    make: Callable[[], bytes]
    real: bool = False


def outcome(data: bytes) -> str:
    """Say what becomes of a file at the door and in decoding: "read", or the code of the refusal."""
    try:
        facts = images.inspect(data, max_pixels=MAX_PIXELS)
        for frame in range(len(facts.frames)):
            images.decode(data, max_pixels=MAX_PIXELS, frame=frame)
    except RejectedImage as problem:
        return problem.code
    return READ


def table_of(levels: list[int], first: int, bits: int) -> Dataset:
    """Make an item of a lookup table's sequence."""
    item = Dataset()
    item.LUTDescriptor = [len(levels), first, bits]
    item["LUTDescriptor"].VR = "US"
    item.LUTData = np.array(levels, dtype="<u2").tobytes()
    item["LUTData"].VR = "OW"
    return item


def _frames(count: int) -> bytes:
    return dicom(np.stack([ramp() // (number + 1) for number in range(count)]), Modality="XA")


def _windowed_frames() -> bytes:
    made = dataset(np.stack([ramp(), ramp()]), Modality="XA")
    groups = []
    for centre in (1000, 3000):
        window, group = Dataset(), Dataset()
        window.WindowCenter, window.WindowWidth = centre, 500
        group.FrameVOILUTSequence = [window]
        groups.append(group)
    made.PerFrameFunctionalGroupsSequence = groups
    return written(made)


def _without_picture() -> bytes:
    made = dataset()
    del made.PixelData
    return written(made)


def _palette() -> bytes:
    made = dataset(ramp(bits=8), bits=8, SOPClassUID=CAPTURE, Modality="OT", PhotometricInterpretation="PALETTE COLOR")
    for colour in ("Red", "Green", "Blue"):
        setattr(made, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 16])
        made[f"{colour}PaletteColorLookupTableDescriptor"].VR = "US"
        setattr(made, f"{colour}PaletteColorLookupTableData", (np.arange(256) * 257).astype("<u2").tobytes())
    return written(made)


def _other_size_inside() -> bytes:
    made = pydicom.dcmread(io.BytesIO(compressed(ramp(bits=8), JPEGBaseline8Bit, bits=8)))
    made.Rows = 4000
    return written(made)


_TWELVE: dict[str, Any] = {"WindowCenter": 2000, "WindowWidth": 3000}

REAL = (
    Case("RG3_J2KI.dcm", "CR of a lower leg, MONOCHROME1, JPEG 2000, with a window", READ, bytes, real=True),
    Case("RG1_J2KI.dcm", "CR of a chest, MONOCHROME1, 15 bits, JPEG 2000", READ, bytes, real=True),
    Case("derived_RG3_320_mono1_u16.dcm", "the same leg, uncompressed, MONOCHROME1", READ, bytes, real=True),
    Case("derived_RG3_320_mono2_u16.dcm", "the same, MONOCHROME2", READ, bytes, real=True),
    Case("SC_rgb_jpeg_dcmtk.dcm", "secondary capture in colour, JPEG", READ, bytes, real=True),
    Case("MR_small.dcm", "magnetic resonance", "wrong-modality", bytes, real=True),
    Case("MR_small_RLE.dcm", "the same, RLE", "wrong-modality", bytes, real=True),
    Case("MR_truncated.dcm", "the same, cut off", "wrong-modality", bytes, real=True),
    Case("emri_small.dcm", "magnetic resonance, 10 frames", "wrong-modality", bytes, real=True),
    Case("JPGLosslessP14SV1_1s_1f_8b.dcm", "ultrasound, JPEG lossless", "wrong-modality", bytes, real=True),
    Case("no_meta.dcm", "without a file header", "unreadable", bytes, real=True),
    Case("rtplan_truncated.dcm", "radiotherapy plan, cut off", "wrong-modality", bytes, real=True),
)
MADE = (
    Case("8 bits", "DX, MONOCHROME2", READ, lambda: dicom(ramp(bits=8), bits=8)),
    Case("10 bits, window", "CR, MONOCHROME1", READ, lambda: dicom(
        ramp(bits=10), bits=10, Modality="CR", PhotometricInterpretation="MONOCHROME1",
        WindowCenter=400, WindowWidth=600,
    )),
    Case("12 bits, window", "DX, MONOCHROME2", READ, lambda: dicom(**_TWELVE)),
    Case("12 bits, no window", "DX, MONOCHROME1", READ, lambda: dicom(PhotometricInterpretation="MONOCHROME1")),
    Case("16 bits, rescaled, window", "DX, signed", READ, lambda: dicom(
        ramp(bits=16, signed=True), bits=16, RescaleSlope=0.5, RescaleIntercept=-1000,
        WindowCenter=-1000, WindowWidth=9000,
    )),
    Case("16 bits, window of a sigmoid", "DX", READ, lambda: dicom(
        ramp(bits=16), bits=16, WindowCenter=30000, WindowWidth=20000, VOILUTFunction="SIGMOID"
    )),
    Case("12 bits, VOI LUT", "MG, MONOCHROME1", READ, lambda: dicom(
        Modality="MG", PhotometricInterpretation="MONOCHROME1",
        VOILUTSequence=[table_of([int(65535 * (n / 4095) ** 0.5) for n in range(4096)], 0, 16)],
    )),
    Case("12 bits, Modality LUT and window", "RF", READ, lambda: dicom(
        Modality="RF", ModalityLUTSequence=[table_of([65535 - 16 * n for n in range(4096)], 0, 16)],
        WindowCenter=32768, WindowWidth=50000,
    )),
    Case("window of no width", "DX; taken as if there were none", READ, lambda: dicom(WindowCenter=5, WindowWidth=0)),
    Case("Implicit VR Little Endian", "DX", READ, lambda: dicom(syntax=ImplicitVRLittleEndian, **_TWELVE)),
    Case("Explicit VR Big Endian", "DX", READ, lambda: dicom(syntax=ExplicitVRBigEndian, **_TWELVE)),
    Case("Deflated", "DX", READ, lambda: dicom(syntax=DeflatedExplicitVRLittleEndian, **_TWELVE)),
    Case("RLE", "DX, 12 bits", READ, lambda: compressed(ramp(), RLELossless, bits=12, **_TWELVE)),
    Case("JPEG baseline", "DX, 8 bits", READ, lambda: compressed(ramp(bits=8), JPEGBaseline8Bit, bits=8)),
    Case("JPEG extended, 8 bits", "DX", READ, lambda: compressed(ramp(bits=8), JPEGExtended12Bit, bits=8)),
    Case("JPEG extended, 12 bits", "DX", READ, lambda: compressed(ramp(), JPEGExtended12Bit, bits=12)),
    Case("JPEG lossless", "DX, 16 bits", READ, lambda: compressed(ramp(bits=16), JPEGLosslessSV1, bits=16)),
    Case("JPEG lossless, signed", "DX, 12 bits", READ, lambda: compressed(
        ramp(bits=12, signed=True), JPEGLosslessSV1, bits=12
    )),
    Case("JPEG-LS", "DX, 12 bits", READ, lambda: compressed(ramp(), JPEGLSLossless, bits=12, **_TWELVE)),
    Case("JPEG 2000, lossless", "DX, 12 bits", READ, lambda: compressed(ramp(), JPEG2000Lossless, bits=12, **_TWELVE)),
    Case("3 frames", "XA: three radiographs", READ, partial(_frames, 3)),
    Case("2 frames, a window each", "XA", READ, _windowed_frames),
    Case("65 frames", "XA", "unsupported", partial(_frames, 65)),
    Case("palette", "secondary capture", READ, _palette),
    Case("cut off", "DX, uncompressed", "unreadable", lambda: dicom()[:-500]),
    Case("cut off, compressed", "DX, JPEG 2000", "unreadable", lambda: compressed(
        ramp(), JPEG2000Lossless, bits=12
    )[:-400]),
    Case("no picture", "DX", "unreadable", _without_picture),
    Case("another size inside", "DX, JPEG", "unreadable", _other_size_inside),
    Case("32 bits", "DX", "unsupported", lambda: dicom(ramp(bits=16).astype(np.uint32), bits=32)),
    Case("too large", "DX; the header alone says so", "too-large", lambda: written(dataset(Rows=9000, Columns=9000))),
    Case("MPEG-4", "XA, a film", "unsupported", lambda: written(
        dataset(syntax="1.2.840.10008.1.2.4.102", Modality="XA", PixelData=encapsulate([bytes(100)]))
    )),
    Case("a photograph", "Modality XC, visible light", "wrong-modality", lambda: dicom(Modality="XC")),
)  # fmt: skip


def content(case: Case, folder: Path) -> bytes:
    """Return a case's file; `folder` holds the real ones."""
    return (folder / "dicom" / case.name).read_bytes() if case.real else case.make()


def row(case: Case, actual: str) -> str:
    """Return a line of the page's table."""
    return (
        f"| `{case.name}` | {case.what} | {case.expected} | {actual} |"
        if case.real
        else (f"| {case.name} | {case.what} | {case.expected} | {actual} |")
    )
