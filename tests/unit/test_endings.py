"""Files that break off, and files that only look odd."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian, JPEG2000Lossless, RLELossless

from tests.conftest import draw_radiograph
from tests.dicom_files import compressed, dicom, ramp
from tests.unit.test_archives import zipped
from worker.endings import breaks_off

_LIMIT = 2**20


def tarred() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("empty.png"))
    return stream.getvalue()


WHOLE = {
    **{form: draw_radiograph(1, form=form) for form in ("PNG", "JPEG", "BMP", "WEBP", "TIFF")},
    "ZIP": zipped({"a.png": draw_radiograph(1)}),
    "DICOM": dicom(),
    "DICOM, implicit": dicom(syntax=ImplicitVRLittleEndian),
    "DICOM, big endian": dicom(syntax=ExplicitVRBigEndian),
    "DICOM, RLE": compressed(ramp(), RLELossless, bits=12),
    "DICOM, JPEG 2000": compressed(ramp(), JPEG2000Lossless, bits=12),
}


def looked_at(data: bytes, tmp_path: Path) -> bool:
    path = tmp_path / "file"
    path.write_bytes(data)
    return breaks_off(path, most_bytes=_LIMIT)


@pytest.mark.parametrize("kind", WHOLE)
def test_a_whole_file_does_not_break_off(kind: str, tmp_path: Path) -> None:
    assert not looked_at(WHOLE[kind], tmp_path)


@pytest.mark.parametrize("kind", [kind for kind in WHOLE if kind != "TIFF"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_file_that_is_cut_off_anywhere_breaks_off(kind: str, share: float, tmp_path: Path) -> None:
    data = WHOLE[kind]
    assert looked_at(data[: int(share * len(data))], tmp_path)


@pytest.mark.parametrize("kind", WHOLE)
def test_a_file_of_full_size_that_is_not_filled_yet_breaks_off(kind: str, tmp_path: Path) -> None:
    data = WHOLE[kind]
    half = len(data) // 2
    assert looked_at(data[:half] + bytes(len(data) - half), tmp_path)
    assert looked_at(bytes(len(data)), tmp_path)


def test_a_tiff_whose_table_was_not_written_yet_breaks_off(tmp_path: Path) -> None:
    assert looked_at(b"II*\0" + (1000).to_bytes(4, "little") + b"\1" * 500, tmp_path)
    assert looked_at(b"MM\0*" + (1000).to_bytes(4, "big") + bytes(2000), tmp_path)


@pytest.mark.parametrize("data", [b"", b"only words", tarred(), b"\0" * 600 + np.arange(100).tobytes()])
def test_of_other_kinds_nothing_is_said(data: bytes, tmp_path: Path) -> None:
    assert looked_at(data, tmp_path) is (len(data) == 600 + 800)
    assert not breaks_off(tmp_path / "nowhere", most_bytes=_LIMIT)
