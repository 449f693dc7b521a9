"""DICOM: each file of the table, and pixel values against pydicom's reference path."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.encaps import encapsulate
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless

from core import images
from core.dicom import apart, reading
from core.dicom.codecs import DECODERS
from core.dicom.signs import is_bare, is_dicom, may_be_dicom
from core.errors import ImageTooLarge, UnreadableImage, UnsupportedFormat, WrongModality
from core.pictures import DicomFacts, Frame
from core.preprocessing import read_model_input
from tests.conftest import PROJECT, draw_radiograph
from tests.dicom_cases import MADE, MAX_PIXELS, READ, REAL, Case, content, outcome, row
from tests.dicom_files import CAPTURE, compressed, dataset, dicom, ramp, written

PAGE = PROJECT / "docs" / "dicom.md"


@pytest.mark.parametrize("case", (*REAL, *MADE), ids=lambda case: case.name)
def test_each_file_ends_as_the_table_says(case: Case, data_folder: Path) -> None:
    actual = outcome(content(case, data_folder))
    assert actual == case.expected
    assert row(case, actual) in PAGE.read_text(encoding="utf-8").splitlines(), "`make docs` writes the table anew"


def reference(data: bytes) -> NDArray[np.float64] | None:
    """Return pydicom's own picture, 0 to 255 with bone bright; None where the file says nothing of brightness."""
    read = pydicom.dcmread(io.BytesIO(data))
    if read.PhotometricInterpretation not in ("MONOCHROME1", "MONOCHROME2") or "NumberOfFrames" in read:
        return None
    windowed = int(read.get("WindowWidth") or 0) > 0 or "VOILUTSequence" in read
    if not windowed:
        return None
    # pydicom has no decoder of its own for JPEG-LS; the made file holds this.
    pixels = ramp() if read.file_meta.TransferSyntaxUID == JPEGLSLossless else read.pixel_array
    values = apply_modality_lut(pixels, read)
    if "VOILUTSequence" in read:
        values = np.rint(values).astype(np.int64)
    shown = apply_voi_lut(values, read).astype(float)
    low: float
    if "VOILUTSequence" in read:
        low, high = 0, 2 ** read.VOILUTSequence[0].LUTDescriptor[2] - 1
    elif "ModalityLUTSequence" in read:
        low, high = 0, 2 ** read.ModalityLUTSequence[0].LUTDescriptor[2] - 1
    else:
        signed = read.PixelRepresentation
        low = -(2 ** (read.BitsStored - 1)) if signed else 0
        high = low + 2**read.BitsStored - 1
        slope, intercept = float(read.get("RescaleSlope", 1)), float(read.get("RescaleIntercept", 0))
        low, high = low * slope + intercept, high * slope + intercept
    share = (shown - low) / (high - low)
    return np.asarray(255 * (1 - share if read.PhotometricInterpretation == "MONOCHROME1" else share))


@pytest.mark.parametrize("case", [case for case in (*REAL, *MADE) if case.expected == READ], ids=lambda case: case.name)
def test_pixels_are_those_of_pydicom(case: Case, data_folder: Path) -> None:
    data = content(case, data_folder)
    pixels, expected = images.decode(data, max_pixels=MAX_PIXELS), reference(data)
    if expected is None:
        # Without a window there is no reference; the whole range is used, and its order is the file's.
        assert (int(pixels.min()), int(pixels.max())) == (0, 255)
        return
    assert pixels.shape == expected.shape
    assert np.abs(pixels - expected).max() <= 0.51  # rounding


def levels(data: bytes, **options: Any) -> NDArray[np.uint8]:
    return images.decode(data, max_pixels=MAX_PIXELS, **options)


def test_bone_is_bright_whichever_way_the_file_stores_it() -> None:
    bright = levels(dicom(WindowCenter=2048, WindowWidth=4096))
    dark = levels(dicom(4095 - ramp(), WindowCenter=2047, WindowWidth=4096, PhotometricInterpretation="MONOCHROME1"))
    assert np.abs(bright.astype(int) - dark).max() <= 1


def test_the_two_real_ways_of_one_leg_give_one_picture(data_folder: Path) -> None:
    one, other = (
        levels((data_folder / "dicom" / f"derived_RG3_320_mono{number}_u16.dcm").read_bytes()).astype(int)
        for number in (1, 2)
    )
    assert np.abs(one - other).max() <= 1


def test_without_a_window_the_whole_range_is_kept_and_a_hot_pixel_flattens_nothing() -> None:
    pixels = ramp(bits=10, width=200, height=100)
    pixels[0, 0] = 1023 * 60
    shown = levels(dicom(pixels, bits=16))
    assert shown[0, 0] == 255
    assert len(np.unique(shown)) > 200


def test_each_frame_is_a_radiograph_with_its_own_window() -> None:
    case = next(case for case in MADE if "a window each" in case.name)
    data = case.make()
    assert len(images.inspect(data, max_pixels=MAX_PIXELS).frames) == 2
    first, second = levels(data, frame=0), levels(data, frame=1)
    assert first.mean() > second.mean() + 50
    with pytest.raises(UnreadableImage, match="Frame 3"):
        levels(data, frame=2)


def test_what_the_header_says_of_the_picture_is_kept() -> None:
    data = dicom(
        BodyPartExamined="wrist",
        ImageLaterality="L",
        ViewPosition="PA",
        ImagerPixelSpacing=[0.15, 0.14],
        BurnedInAnnotation="YES",
    )
    facts = images.inspect(data, max_pixels=MAX_PIXELS)
    assert (facts.media_type, facts.frames) == ("application/dicom", (Frame(48, 32, 12),))
    assert facts.dicom == DicomFacts(
        modality="DX",
        body_part="WRIST",
        laterality="L",
        view="PA",
        spacing_mm=(0.15, 0.14),
        calibrated=False,
        burned_in="yes",
    )
    calibrated = images.inspect(dicom(PixelSpacing=[0.2, 0.2]), max_pixels=MAX_PIXELS).dicom
    assert calibrated is not None
    assert (calibrated.spacing_mm, calibrated.calibrated, calibrated.body_part) == ((0.2, 0.2), True, None)


@pytest.mark.parametrize("spacing", [[0, 0], [0.1], [-1, 1], ["a", "b"], [float("inf"), 1]])
def test_a_spacing_that_cannot_be_is_none(spacing: list[Any]) -> None:
    made = dataset()
    made.add_new("PixelSpacing", "LO", [str(value) for value in spacing])  # what a strange writer may write
    facts = images.inspect(written(made), max_pixels=MAX_PIXELS).dicom
    assert facts is not None
    assert facts.spacing_mm is None


def test_text_in_a_secondary_capture_can_only_be_suspected() -> None:
    for said, expected in (("YES", "yes"), ("NO", None), (None, "perhaps")):
        data = dicom(SOPClassUID=CAPTURE, Modality="OT", BurnedInAnnotation=said)
        facts = images.inspect(data, max_pixels=MAX_PIXELS).dicom
        assert facts is not None
        assert (facts.modality, facts.burned_in) == ("SC", expected)


def test_no_sentence_repeats_what_stands_in_the_file() -> None:
    for made in (
        dataset(Modality="QUILLFEATHER ANNA"),
        dataset(PhotometricInterpretation="QUILLFEATHER ANNA"),
        dataset(BodyPartExamined="Quillfeather^Anna"),
    ):
        data = written(made)
        try:
            facts = str(images.inspect(data, max_pixels=MAX_PIXELS))
        except (WrongModality, UnsupportedFormat) as problem:
            facts = str(problem)
            assert facts.endswith(".")
        assert "quillfeather" not in facts.lower()


def test_a_missing_decoder_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DECODERS, JPEG2000Lossless, "another")
    with pytest.raises(UnsupportedFormat, match=r"decoder .* \(another\) is not installed"):
        levels(compressed(ramp(), JPEG2000Lossless, bits=12))


#: Found by damaging a file: CharLS goes round in it for ever.
ENDLESS = (
    "/9j/9wALDAAgADABAREA/9oACAEBAAAAAKPGr3byS9lWbtYIf+Z92EvoKysx5NbF8bvhVBXFc8VSTxMI0q9MwRwUqPpNokGlbyV0"
    "ketbiE0kOWS2dFcxD84r1cWjkN/qxJbLPTGFyzm1lOM5+7VzMLTxXIo1fGemE6cvhSmcZojFXmQinJ7I3CnoR0r54Iy3NpGKmLyY"
    "XmvMjIOXyO3Cn8jLN+EZ9m4inXERkFJxFbqPrkZZ+dyK93YRXXEzcUnN2wUTyIkW6hGW7uRiK6ZlZDviduKTiK1U6hFSd8Ir/NpE"
    "KuJddPFJ2VqOeyIkW2RFe18IpUyYiCk7I2HNTISQnZIipK6gjP8ykUrZMRBTUyJlZbKkvqBK7305JBrlRcMnJRYDPTIkdbhI9d2X"
    "GuVFw3kOviwGemRKFEsirD/5FXfaRSrm5EOamRuOJRpFSC3xFXfYRSrtxEO3btxzURmwUSyKsv5T10/bSIdsnbil5uWCjURVkt8R"
    "lv2EF03ciJeibtgolkRI77Iq2tglNPsJA225cGTiUsA6CARUgqyiv/tIhWyduDL2VsOeiIkd1kV7f4uNX/1JAy5csBm5Io7rEql9"
    "8JjT6iUb7Y9/BkxIqBiUSKC7wleq4JRpthKG+JSwGbkixH7qErt3JINNsJA2xcXAzckVAYlEZJfeEr1TnolGu2EgZMSFwMSiMkFv"
    "hK9XglGn+EgbYsgFwM3ZCwDEoirL+UV/9pEO2ZCcUvbtgolE3cclviKtrYRXT5xIGTt24GJRGau+yKtrYRWvD2iQNtnLgycitgol"
    "EVIKsor77SIVdnbizPLIWAz0REjusivb+EV/8pIGTLlwZuSKO6c31UvvhMf+olG+2LgyYlKgZ+SKOtolWq4a+DTbCMN8SlgM3JFH"
    "dQlcvvCU/2olG+LiTc5uSKgMShMpfeEr1eiUa7YSBviQuBm5Kqx8aJXpuSUaf4SBti5cDNSQsAxJErke6JD0/exIG2bi4MtbtgGJ"
    "JFWQ70ira2EV0+cSBvm+2eBiSRmzPiRVtbCK6faJA22cuDJyKWCiSRSXcGsor2dpEKuzlwZNOWAzyREjviRlsbglOLmqSBvty4M1"
    "JFWfESKR74lP/wJRrti4MkhsqVAz8kUdbRI7G4JRpthIG+JCwGakijnpIL/Z"
)


def test_a_picture_that_keeps_its_decoder_busy_for_ever_is_unreadable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "_MOST_SECONDS", 1)
    made = dataset(syntax=JPEGLSLossless, PixelData=encapsulate([base64.b64decode(ENDLESS)]))
    with pytest.raises(UnreadableImage, match="damaged"):
        levels(written(made))


def test_a_deflated_bomb_is_refused_before_it_is_inflated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_MOST_INFLATED", 20 * 2**20)
    small = dicom(syntax=DeflatedExplicitVRLittleEndian)
    start = 144 + struct.unpack("<I", small[140:144])[0]
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = b"".join(deflate.compress(bytes(2**20)) for _ in range(30)) + deflate.flush()
    with pytest.raises(ImageTooLarge, match="more than 20 MiB"):
        images.inspect(small[:start] + bomb, max_pixels=MAX_PIXELS)


def test_a_header_of_very_many_elements_is_refused_in_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_MOST_READS", 20_000)
    small = dicom()
    start = 144 + struct.unpack("<I", small[140:144])[0]
    many = b"".join(struct.pack("<HH2sH", 0x0009 + 2 * (n >> 16), n & 0xFFFF, b"LO", 0) for n in range(20_000))
    with pytest.raises(UnreadableImage, match="more elements"):
        images.inspect(small[:start] + many, max_pixels=MAX_PIXELS)


def test_a_network_sees_a_dicom_file_as_it_sees_a_png() -> None:
    picture = read_model_input(dicom(), side=32, channels=3, max_pixels=MAX_PIXELS)
    assert picture.shape == (32, 32, 3)
    assert picture.max() > 200


def test_dicom_is_told_by_its_first_bytes() -> None:
    data = dicom()
    assert is_dicom(data)
    assert not is_bare(data)
    assert is_bare(data[144 + struct.unpack("<I", data[140:144])[0] :])
    for other in (draw_radiograph(1), b"", b"words", draw_radiograph(1, form="TIFF"), draw_radiograph(1, form="BMP")):
        assert not is_dicom(other)
        assert not is_bare(other)
    assert may_be_dicom("DOE_JANE", data[:200])
    assert may_be_dicom("Doe.DCM", b"")
    assert not may_be_dicom("hand.png", draw_radiograph(1))
