"""Is a DICOM file there as far as it says it goes? Asked before it is taken, since writers pause."""

from __future__ import annotations

import pydicom

from core.dicom.reading import DEFLATED, Bounded, hush

_PIXEL_DATA = {b"\xe0\x7f\x10\x00": "little", b"\x7f\xe0\x00\x10": "big"}
_LONG_FORMS = (b"OB", b"OW", b"UN")
_UNDEFINED = 0xFFFFFFFF
_DELIMITER, _END = b"\xfe\xff\xdd\xe0", 1024
_HEADER_BYTES = 4096


def breaks_off(data: bytes) -> bool:
    """Whether a file ends before its picture does; of a deflated one nothing is known."""
    if DEFLATED in data[:_HEADER_BYTES]:
        return False
    hush()
    stream = Bounded(data)
    try:
        pydicom.dcmread(stream, stop_before_pixels=True)
    except MemoryError:
        raise
    except Exception:  # the parser raises almost anything where a header ends in its middle
        return True
    at = stream.tell()
    order = _PIXEL_DATA.get(data[at : at + 4])
    if order is None:
        return at >= len(data)
    is_long = data[at + 4 : at + 6] in _LONG_FORMS
    start = at + (12 if is_long else 8)
    length = int.from_bytes(data[start - 4 : start], "little" if order == "little" else "big")
    if length == _UNDEFINED:
        return _DELIMITER not in data[-_END:]
    return start + length > len(data)
