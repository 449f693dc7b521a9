"""What is known of a picture: the facts in its file's header, and its pixels once it is decoded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Most pictures that one file may bring, pages of a TIFF or frames of DICOM. Our choice: far above any study of one
#: body part.
MAX_FRAMES = 64


@dataclass(frozen=True)
class Frame:
    """One picture of a file, as its header describes it."""

    width: int  # pixels, before any EXIF rotation (of a TIFF after it: Pillow turns those by itself)
    height: int
    bit_depth: int  # bits per sample


@dataclass(frozen=True, kw_only=True)
class DicomFacts:
    """What a DICOM header says of the picture; nothing of the patient."""

    modality: str
    body_part: str | None
    laterality: str | None
    view: str | None
    spacing_mm: tuple[float, float] | None  # between rows, between columns
    calibrated: bool  # the spacing holds in the patient; else at the detector, where things are larger
    burned_in: str | None  # whether text in the picture may name the patient: "yes", "perhaps"


@dataclass(frozen=True)
class ImageFacts:
    """What the header says, before anything is decoded."""

    media_type: str
    frames: tuple[Frame, ...]  # several for a TIFF with several pages and DICOM with several frames
    dicom: DicomFacts | None = None


@dataclass(frozen=True)
class Picture:
    """One decoded frame."""

    pixels: NDArray[np.uint8]  # as `decode` returns
    chroma: NDArray[np.int16] | None  # as `core.grey.chroma` returns; None: the file has no colours
    acquired: bool = False  # a DICOM file says so: an X-ray device took it, and which of its ends of the scale is bone
