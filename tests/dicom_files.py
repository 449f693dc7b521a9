"""DICOM files made at test time: no patient data in the repository."""

from __future__ import annotations

import io
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filewriter import dcmwrite
from pydicom.uid import (
    UID,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    SecondaryCaptureImageStorage,
)

from tests.fakes import saved

CAPTURE = SecondaryCaptureImageStorage


def ramp(*, bits: int = 12, width: int = 48, height: int = 32, signed: bool = False) -> NDArray[Any]:
    """Return every brightness from the darkest to the brightest, with a little structure."""
    even = np.linspace(0, 2**bits - 1, width * height).reshape(height, width)
    levels: NDArray[Any] = (even + 5 * np.sin(even)).clip(0, 2**bits - 1).astype(np.uint16 if bits > 8 else np.uint8)
    return (levels.astype(np.int32) - 2 ** (bits - 1)).astype(np.int16) if signed else levels


def dataset(
    pixels: NDArray[Any] | None = None, *, bits: int = 12, syntax: str = ExplicitVRLittleEndian, **tags: Any
) -> Dataset:
    """Make a data set of a digital radiograph.

    Args:
        pixels: (height, width), (frames, height, width) or (height, width, 3).
        bits: Stored bits.
        syntax: Its transfer syntax.
        tags: Elements by keyword; None removes one.
    """
    pixels = ramp(bits=bits) if pixels is None else pixels
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = UID(syntax)
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID = tags.pop(
        "SOPClassUID", DigitalXRayImageStorageForPresentation
    )
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID = tags.pop("SOPInstanceUID", "1.2.3.4.5")
    made.Modality = "DX"
    colours = pixels.ndim == 3 and pixels.shape[-1] == 3
    made.SamplesPerPixel = 3 if colours else 1
    made.PhotometricInterpretation = "RGB" if colours else "MONOCHROME2"
    if colours:
        made.PlanarConfiguration = 0
    made.Rows, made.Columns = pixels.shape[:2] if colours or pixels.ndim == 2 else pixels.shape[1:]
    if pixels.ndim == 3 and not colours:
        made.NumberOfFrames = len(pixels)
    made.BitsAllocated = 8 * pixels.dtype.itemsize
    made.BitsStored, made.HighBit = bits, bits - 1
    made.PixelRepresentation = int(pixels.dtype.kind == "i")
    big = syntax == "1.2.840.10008.1.2.2"
    made.PixelData = pixels.astype(pixels.dtype.newbyteorder(">" if big else "<")).tobytes()
    for name, value in tags.items():
        if value is None:
            if name in made:
                delattr(made, name)
        else:
            setattr(made, name, value)
    return made


def written(made: Dataset) -> bytes:
    """Write a data set as a file."""
    stream = io.BytesIO()
    dcmwrite(stream, made, enforce_file_format=True)
    return stream.getvalue()


def dicom(pixels: NDArray[Any] | None = None, **options: Any) -> bytes:
    """Make a file; see `dataset`."""
    return written(dataset(pixels, **options))


def compressed(pixels: NDArray[Any], syntax: str, *, bits: int, **tags: Any) -> bytes:
    """Make a file of a compressed transfer syntax."""
    if syntax in (JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLosslessSV1, JPEGLSLossless):
        made = dataset(pixels, bits=bits, **tags)
        if pixels.ndim == 3:
            made.PhotometricInterpretation = "YBR_FULL_422"
        stream: bytes | bytearray
        if syntax == JPEGBaseline8Bit:
            stream = saved(Image.fromarray(pixels), "JPEG", quality=95)
        elif syntax == JPEGLSLossless:
            stream = imagecodecs.jpegls_encode(pixels)
        else:
            unsigned = pixels.view(f"u{pixels.dtype.itemsize}") & (2**bits - 1)
            lossless = syntax == JPEGLosslessSV1
            stream = imagecodecs.jpeg8_encode(unsigned, level=95, bitspersample=bits, lossless=lossless)
        made.file_meta.TransferSyntaxUID = UID(syntax)
        made.PixelData = encapsulate([bytes(stream)])
        made["PixelData"].VR = "OB"
        return written(made)
    made = dataset(pixels, bits=bits, **tags)
    made.compress(syntax, encoding_plugin="pylibjpeg" if "4.9" in syntax else "", generate_instance_uid=False)
    return written(made)
