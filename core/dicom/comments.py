"""Take comments out of compressed pictures: any program that wrote them may have put a name there."""

from __future__ import annotations

from pydicom.encaps import encapsulate, generate_frames

from core.dicom.codecs import is_jpeg, is_jpeg_2000

#: Application segments that say how colours are stored; nobody writes names there.
_NEEDED = {0xE0: b"JFIF\0", 0xEE: b"Adobe", 0xE8: b"mrfx"}
_CODESTREAM, _JPEG_2000_COMMENT, _START_OF_TILE = b"\xff\x4f\xff\x51", 0x64, 0x90


def without_comments(syntax: str, pixel_data: bytes, frames: int) -> bytes:
    """Return encapsulated pixel data whose pictures carry no comments; what cannot be read stays as it is."""
    cleaner = _jpeg if is_jpeg(syntax) else _jpeg_2000 if is_jpeg_2000(syntax) else None
    if cleaner is None:
        return pixel_data
    try:
        pictures = list(generate_frames(pixel_data, number_of_frames=frames))
    except MemoryError:
        raise
    except Exception:  # damaged: decoding will say so
        return pixel_data
    cleaned = [cleaner(picture) for picture in pictures]
    if len(cleaned) != frames or cleaned == pictures:
        return pixel_data
    return bytes(encapsulate(cleaned))


def _jpeg(stream: bytes) -> bytes:
    at, parts = 2, [stream[:2]]
    while at + 4 <= len(stream) and stream[at] == 0xFF and stream[at + 1] != 0xDA:
        marker, length = stream[at + 1], int.from_bytes(stream[at + 2 : at + 4], "big")
        segment = stream[at : at + 2 + length]
        telling = marker == 0xFE or 0xE0 <= marker <= 0xEF
        if length < 2 or marker == 0xFF:
            break
        if not telling or (marker in _NEEDED and segment[4:].startswith(_NEEDED[marker])):
            parts.append(segment)
        at += 2 + length
    return b"".join([*parts, stream[at:]])


def _jpeg_2000(stream: bytes) -> bytes:
    """Keep the codestream; the boxes of a JP2 around it do not belong into DICOM."""
    start = stream.find(_CODESTREAM)
    if start < 0:
        return stream
    at, parts = start + 2, [stream[start : start + 2]]
    while at + 4 <= len(stream) and stream[at] == 0xFF and stream[at + 1] != _START_OF_TILE:
        end = at + 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
        if stream[at + 1] != _JPEG_2000_COMMENT:
            parts.append(stream[at:end])
        at = end
    return b"".join([*parts, stream[at:]])
