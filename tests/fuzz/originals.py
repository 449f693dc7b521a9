"""Small sound pictures of every kind that comes in, to be damaged."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo
from pydicom.uid import JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless, RLELossless

from tests.dicom_cases import MADE
from tests.dicom_files import CAPTURE, compressed, dicom, ramp
from tests.fakes import saved, tiff

_SIDES = (24, 40)


def _exif() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation
    exif[0x010E] = "left wrist"
    exif.get_ifd(0x8769).update({0x9003: "2026:01:31 08:00:00", 0x927C: b"maker" * 20, 0xA002: 24})
    exif.get_ifd(0x8825).update({1: "N", 2: (1.0, 2.0, 3.0)})
    return exif


def _grey(mode: str = "L") -> Image.Image:
    levels = np.linspace(0, 255, _SIDES[0] * _SIDES[1]).reshape(_SIDES[::-1]).astype(np.uint8)
    picture = Image.fromarray(levels)
    if mode == "LAB":
        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        changed = ImageCms.applyTransform(picture.convert("RGB"), ImageCms.buildTransform(*profiles, "RGB", "LAB"))
        assert changed is not None
        return changed
    return picture.convert(mode)


def _deep(kind: str) -> np.ndarray[Any, Any]:
    ramp = np.linspace(0, 1, _SIDES[0] * _SIDES[1]).reshape(_SIDES[::-1])
    if kind[1] == "f":
        return (ramp * 1e30).astype(kind)
    information = np.iinfo(kind)
    return (information.min + ramp * (float(information.max) - information.min) * 0.999).astype(kind)


def _dicoms() -> Iterator[bytes]:
    """Every way in which DICOM stores and compresses pictures, and every way to make them bright."""
    for case in MADE:
        if case.expected == "read":
            yield case.make()
    yield dicom(np.asarray(_grey("RGB")), bits=8, SOPClassUID=CAPTURE, Modality="OT")
    # More of what a decoder written in C reads.
    for syntax, bits in ((JPEGLosslessSV1, 8), (JPEGLSLossless, 8), (JPEG2000Lossless, 16), (RLELossless, 8)):
        yield compressed(ramp(bits=bits), syntax, bits=bits)


@cache
def originals() -> tuple[tuple[str, bytes], ...]:
    """Return the format and the bytes of each, always in the same order and with the same content."""
    made: list[tuple[str, bytes]] = []

    def add(form: str, picture: Image.Image, **options: Any) -> None:
        made.append(("JPEG" if form == "MPO" else form, saved(picture, form, **options)))

    for mode in ("L", "RGB", "CMYK"):
        add("JPEG", _grey(mode))
        add("JPEG", _grey(mode), progressive=True, exif=_exif())
    add("MPO", _grey("RGB"), save_all=True, append_images=[_grey("RGB")])

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    words = PngInfo()
    words.add_text("Comment", "left wrist " * 40, zip=True)
    words.add_itxt("XML:com.adobe.xmp", '<x tiff:Orientation="6"/>')
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA"):
        add("PNG", _grey(mode))
    add("PNG", _grey("P"), transparency=bytes(range(200)), exif=_exif())
    add("PNG", _grey("L"), transparency=7, pnginfo=words, icc_profile=profile)
    add("PNG", Image.fromarray(_deep("<u2")), exif=_exif())
    add("PNG", _grey(), save_all=True, append_images=[_grey().rotate(90), _grey().rotate(180)])

    for mode in ("1", "L", "P", "RGB", "RGBA"):
        add("BMP", _grey(mode))

    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB"):
        add("TIFF", _grey(mode))
    for compression in ("tiff_lzw", "tiff_deflate", "packbits", "tiff_adobe_deflate", "lzma", "zstd"):
        add("TIFF", _grey("RGB"), compression=compression, exif=_exif())
    add("TIFF", _grey("1"), compression="group4")
    add("TIFF", _grey("1"), compression="tiff_ccitt")
    add("TIFF", _grey("L"), compression="jpeg")
    add("TIFF", _grey("RGB"), big_tiff=True)
    add("TIFF", _grey(), save_all=True, append_images=[_grey("1"), _grey("RGB"), _grey("P")])
    for kind in ("<u2", ">u2", "<i2", "<u4", ">u4", "<i4", "<f4", ">f4"):
        made.append(("TIFF", tiff(_deep(kind), white_is_zero=kind == ">u2", orientation=6)))

    made.extend(("DICOM", data) for data in _dicoms())
    add("WEBP", _grey("RGB"), exif=_exif(), icc_profile=profile)
    add("WEBP", _grey("RGBA"), lossless=True)
    add("WEBP", _grey("RGBA"), save_all=True, append_images=[_grey("RGBA").rotate(90)])
    return tuple(made)
