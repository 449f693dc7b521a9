"""Which compressed pictures are read, and by what; and what a compressed picture says of its own size.

One decoder for each kind, so that damaged data meet one library and not three. All licences fit Apache-2.0; the usual
decoder of lossless JPEG, pylibjpeg-libjpeg, is GPL and is not used.
"""

from __future__ import annotations

from dataclasses import dataclass

from core.errors import UnreadableImage

#: Uncompressed, in either byte order, and deflated as a whole.
NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2")
JPEG_BASELINE, JPEG_EXTENDED = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"
_JPEG = (JPEG_BASELINE, JPEG_EXTENDED, "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70")
_JPEG_LS = ("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81")
_JPEG_2000 = ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91")
_JPEG_2000_HT = ("1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.4.203")
RLE = "1.2.840.10008.1.2.5"
#: Not one of pydicom's plugins.
IMAGECODECS = "imagecodecs"
#: Transfer syntax to the name of pydicom's plugin.
DECODERS = {
    JPEG_BASELINE: "pillow",
    # libjpeg-turbo 3. GDCM's own ended the whole process on damaged files (an uncaught exception in C++).
    **dict.fromkeys(_JPEG[1:], IMAGECODECS),
    **dict.fromkeys(_JPEG_LS, IMAGECODECS),
    **dict.fromkeys((*_JPEG_2000, *_JPEG_2000_HT), "pylibjpeg"),
    RLE: "pydicom",  # pylibjpeg-rle panics on damaged data, and writes so to standard error
}
#: All that is read, the best first: exact before lossy, and of those what costs least to decode.
SYNTAXES = (
    *("1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2", RLE),
    *("1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.201"),
    *("1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.4.80", JPEG_BASELINE, JPEG_EXTENDED, "1.2.840.10008.1.2.4.91"),
    *("1.2.840.10008.1.2.4.203", "1.2.840.10008.1.2.4.81"),
)
#: Markers of JPEG that begin a frame's header: all of C0 to CF but tables (C4, CC) and reserved (C8); F7 is JPEG-LS.
_FRAME_HEADERS = frozenset({*range(0xC0, 0xD0), 0xF7}) - {0xC4, 0xC8, 0xCC}
_START_OF_SCAN = b"\xff\xda"
#: As in core/images.py: each scan is a walk over the whole picture.
_MOST_SCANS = 256
#: RLE has at most so many byte planes; a plane may run over by its padding.
_MOST_SEGMENTS, _SURPLUS = 15, 1024
_CODESTREAM = b"\xff\x4f\xff\x51"
#: Boxes before the codestream of a JP2 are short.
_CODESTREAM_WITHIN = 4096


@dataclass(frozen=True)
class Shape:
    """What a compressed picture says of itself."""

    width: int
    height: int
    samples: int


def is_jpeg(syntax: str) -> bool:
    """Whether a transfer syntax is JPEG or JPEG-LS, whose files are made alike."""
    return syntax in _JPEG or syntax in _JPEG_LS


def is_jpeg_ls(syntax: str) -> bool:
    """Whether a transfer syntax is JPEG-LS."""
    return syntax in _JPEG_LS


def is_jpeg_2000(syntax: str) -> bool:
    """Whether a transfer syntax is JPEG 2000, the high-throughput one included."""
    return syntax in _JPEG_2000 or syntax in _JPEG_2000_HT


def check_shape(syntax: str, stream: bytes, expected: Shape) -> None:
    """Refuse a compressed picture that would become another one than the header says, before it is decoded.

    Raises:
        UnreadableImage: It says so, or says nothing.
    """
    if syntax == RLE:
        _check_runs(stream, expected.width * expected.height)
        return
    found = _of_jpeg_2000(stream) if is_jpeg_2000(syntax) else _of_jpeg(stream)
    if found is None:
        raise UnreadableImage("The compressed picture in the DICOM file is damaged: its header cannot be read.")
    if found != expected:
        raise UnreadableImage("The compressed picture in the DICOM file has another size than the file's header says.")
    if syntax in _JPEG and stream.count(_START_OF_SCAN) > _MOST_SCANS:
        raise UnreadableImage(f"The compressed picture has more than {_MOST_SCANS} scans; no more are accepted.")


def _check_runs(stream: bytes, pixels: int) -> None:
    """Refuse runs that become more than a picture: pydicom unpacks all of them before it counts.

    Raises:
        UnreadableImage: They do, or their table is damaged.
    """
    count = int.from_bytes(stream[:4], "little")
    starts = [int.from_bytes(stream[4 * n : 4 * n + 4], "little") for n in range(1, min(count, _MOST_SEGMENTS) + 1)]
    ends = [*starts[1:], len(stream)]
    if not 1 <= count <= _MOST_SEGMENTS or any(not 64 <= start <= end for start, end in zip(starts, ends, strict=True)):
        raise UnreadableImage("The compressed picture in the DICOM file is damaged: its header cannot be read.")
    for at, end in zip(starts, ends, strict=True):
        size = idle = 0
        while at < end:
            control = stream[at]
            size += control + 1 if control < 128 else 257 - control if control > 128 else 0
            idle += control == 128
            at += control + 2 if control < 128 else 2 if control > 128 else 1
            if size > pixels + _SURPLUS or idle > _SURPLUS:
                raise UnreadableImage("The compressed picture in the DICOM file holds more than its header says.")


def _of_jpeg(stream: bytes) -> Shape | None:
    at = stream.find(b"\xff\xd8", 0, 16) + 2
    if at < 2:
        return None
    while at + 10 <= len(stream) and stream[at] == 0xFF:
        marker, length = stream[at + 1], int.from_bytes(stream[at + 2 : at + 4], "big")
        if marker == 0xFF:  # padding
            at += 1
        elif marker in _FRAME_HEADERS:
            height, width = (int.from_bytes(stream[at + 5 + 2 * n : at + 7 + 2 * n], "big") for n in (0, 1))
            return Shape(width, height, stream[at + 9])
        elif marker == 0xDA or length < 2:
            return None
        else:
            at += 2 + length
    return None


def _of_jpeg_2000(stream: bytes) -> Shape | None:
    at = stream.find(_CODESTREAM, 0, _CODESTREAM_WITHIN)
    if at < 0 or at + 42 > len(stream):
        return None
    right, bottom, left, top = (int.from_bytes(stream[at + 8 + 4 * n : at + 12 + 4 * n], "big") for n in range(4))
    return Shape(right - left, bottom - top, int.from_bytes(stream[at + 40 : at + 42], "big"))
