"""Does a file break off? Told from its first and last bytes, mostly, so that it can be asked of every file.

A writer that pauses for longer than a file has to be quiet leaves a beginning, and Windows gives a file that it copies
to a share its full size at once and fills it afterwards. Neither has the end that its kind ends with.
"""

from __future__ import annotations

import os
from pathlib import Path

from core.dicom.signs import is_dicom

_BEGINNING, _END, _PACKED = 512, 1024, 16
_PNG_END = b"IEND\xaeB`\x82"
_TAR, _TAR_AT = b"ustar", 257


def breaks_off(path: Path, *, most_bytes: int) -> bool:
    """Whether a PNG, JPEG, BMP, WebP, TIFF, ZIP or DICOM file lacks its end; of other kinds nothing is known.

    A file that is damaged for good lacks it too: such files are only waited for longer.

    Args:
        path: Which.
        most_bytes: Of a DICOM file, whose header has to be read, that is no larger.
    """
    try:
        with path.open("rb") as stream:
            beginning = stream.read(_BEGINNING)
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - _END))
            end = stream.read(_END)
            if beginning[_TAR_AT : _TAR_AT + len(_TAR)] == _TAR:
                return False  # it ends in zeros
            if size >= _END and not any(end):
                return True  # not filled yet; a picture that is black at its end has to wait too
            if is_dicom(beginning):
                from core.dicom import whole  # costs a quarter of a second, which other files never pay

                stream.seek(0)
                return size <= most_bytes and whole.breaks_off(stream.read())
            if beginning[:4] in (b"II*\0", b"MM\0*"):
                # Its table of contents lies anywhere, often at the end; unwritten bytes are a table of no entries.
                stream.seek(int.from_bytes(beginning[4:8], "little" if beginning[:1] == b"I" else "big"))
                return stream.read(2) in (b"", b"\0\0")
    except OSError:
        return False
    if beginning.startswith(b"\x89PNG\r\n\x1a\n"):
        return _PNG_END not in end
    if beginning.startswith(b"\xff\xd8\xff"):
        return b"\xff\xd9" not in end
    if beginning.startswith(b"PK\x03\x04"):
        return b"PK\x05\x06" not in end
    if beginning.startswith(b"BM"):
        return int.from_bytes(beginning[2:6], "little") > size
    if beginning.startswith(b"RIFF") and beginning[8:12] == b"WEBP":
        # It is packed, and has no row of zeros.
        return int.from_bytes(beginning[4:8], "little") + 8 > size or not any(end[-_PACKED:])
    return size > 0 and not any(beginning)
