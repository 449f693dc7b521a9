"""Damage a file in every way that we could think of; each input is a pure function of a seed and a number.

Show one input again: `python -m tests.fuzz.damage SEED NUMBER > FILE`.
"""

from __future__ import annotations

import io
import struct
import sys
import zlib
from collections.abc import Callable

import numpy as np
import pydicom

from tests.fuzz.originals import originals

Rng = np.random.Generator
#: Numbers at which programs break, as they stand in headers and tags.
_ODD = (0, 1, 2, 3, 7, 8, 16, 32, 255, 256, 7999, 8000, 8001, 32767, 32768, 65535, 65536, 2**24, 2**31 - 1, 2**31)
_ODD_NUMBERS = (*_ODD, 2**32 - 2, 2**32 - 1)
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MAGICS = (
    b"\xff\xd8\xff\xe0",
    b"\xff\xd8\xff\xda",
    _SIGNATURE,
    b"BM",
    b"II*\0",
    b"MM\0*",
    b"II+\0",
    b"RIFF\0\0\0\0WEBP",
    bytes(128) + b"DICM",
)


def damaged(seed: int, number: int) -> bytes:
    """Return one damaged file."""
    rng = np.random.default_rng([seed, number])
    form, data = originals()[rng.integers(len(originals()))]
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        data = _pick(rng, (*ANY, *_SPECIAL[form]))(rng, data)
    return data


def _pick(rng: Rng, choices: tuple[Callable[[Rng, bytes], bytes], ...]) -> Callable[[Rng, bytes], bytes]:
    return choices[rng.integers(len(choices))]


def _place(rng: Rng, data: bytes) -> int:
    """Return a place in a file, more often near its beginning, where the header is."""
    return int(rng.integers(max(1, min(len(data), rng.choice([16, 64, 512, 2**40])))))


def _odd(rng: Rng) -> int:
    return _ODD_NUMBERS[rng.integers(len(_ODD_NUMBERS))]


def _times(rng: Rng, part: bytes, most: int) -> int:
    """Return how often a part is repeated; the whole stays within some megabytes, whatever came before."""
    return min(int(rng.choice([1, 2, 50, most])), 2**22 // (len(part) + 1))


def _flip_bits(rng: Rng, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.integers(1, 17)):
        if changed:
            changed[_place(rng, data)] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _overwrite(rng: Rng, data: bytes) -> bytes:
    at = _place(rng, data)
    length = int(rng.integers(1, 65))
    filler = rng.bytes(length) if rng.integers(2) else bytes([rng.choice([0, 255])]) * length
    return data[:at] + filler + data[at + length :]


def _cut_off(rng: Rng, data: bytes) -> bytes:
    return data[: _place(rng, data)]


def _cut_out(rng: Rng, data: bytes) -> bytes:
    at = _place(rng, data)
    return data[:at] + data[at + int(rng.integers(1, 65)) :]


def _append(rng: Rng, data: bytes) -> bytes:
    return data + (data, rng.bytes(100), bytes(5000), originals()[rng.integers(len(originals()))][1])[rng.integers(4)]


def _wrong_beginning(rng: Rng, data: bytes) -> bytes:
    magic = _MAGICS[rng.integers(len(_MAGICS))]
    return magic + data[len(magic) if rng.integers(2) else 0 :]


def _swap_blocks(rng: Rng, data: bytes) -> bytes:
    size = int(rng.choice([4, 16, 64]))
    return b"".join(_rearranged(rng, [data[at : at + size] for at in range(0, len(data), size)]))


def _odd_number(rng: Rng, data: bytes) -> bytes:
    at, order = _place(rng, data), rng.choice(["<", ">"])
    odd = struct.pack(f"{order}I", _odd(rng)) if rng.integers(2) else struct.pack(f"{order}H", _odd(rng) & 0xFFFF)
    return data[:at] + odd + data[at + len(odd) :]


def _rearranged(rng: Rng, parts: list[bytes]) -> list[bytes]:
    """Swap, drop, double or reverse some parts."""
    if len(parts) < 2:
        return parts
    one, other = (int(place) for place in rng.integers(len(parts), size=2))
    match rng.integers(4):
        case 0:
            parts[one], parts[other] = parts[other], parts[one]
        case 1:
            del parts[one]
        case 2:
            parts[other:other] = [parts[one]] * _times(rng, parts[one], 300)
        case 3:
            parts[min(one, other) : max(one, other)] = parts[min(one, other) : max(one, other)][::-1]
    return parts


def _png_chunks(rng: Rng, data: bytes) -> bytes:
    """Rearrange or change chunks and correct their checksums, so that the damage is read."""
    chunks, at = [], len(_SIGNATURE)
    while at + 8 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    if not chunks:
        return data
    if rng.integers(2):
        place = rng.integers(len(chunks))
        kind, body = chunks[place]
        chunks[place] = (kind, _pick(rng, (_flip_bits, _odd_number, _cut_off, _overwrite))(rng, body))
    written = [struct.pack(">I", len(body)) + kind + body + _crc(kind + body) for kind, body in chunks]
    return _SIGNATURE + b"".join(_rearranged(rng, written) if rng.integers(2) else written)


def _crc(data: bytes) -> bytes:
    return struct.pack(">I", zlib.crc32(data))


def _png_size(rng: Rng, data: bytes) -> bytes:
    """Any width, height, depth and colour type, with a checksum that is right."""
    header = struct.pack(
        ">IIBBBBB", _odd(rng), _odd(rng), rng.choice([1, 2, 4, 8, 16, 255]), rng.integers(8), 0, 0, rng.integers(3)
    )
    return data[:8] + struct.pack(">I", 13) + b"IHDR" + header + _crc(b"IHDR" + header) + data[33:]


def _jpeg_segments(rng: Rng, data: bytes) -> bytes:
    parts, at = [data[:2]], 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        length = 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        parts.append(data[at : at + length])
        at += length
    return b"".join([*_rearranged(rng, parts), data[at:]])


def _jpeg_size(rng: Rng, data: bytes) -> bytes:
    """Any width and height, and sometimes any number of components."""
    for marker in (b"\xff\xc0", b"\xff\xc2"):
        at = data.find(marker)
        if at > 0:
            sides = struct.pack(">HH", _odd(rng) & 0xFFFF, _odd(rng) & 0xFFFF)
            parts = bytes([rng.integers(6)]) if rng.integers(4) == 0 else data[at + 9 : at + 10]
            return data[: at + 5] + sides + parts + data[at + 10 :]
    return data


def _jpeg_scans(rng: Rng, data: bytes) -> bytes:
    """Repeat everything from the first scan on."""
    at = data.find(b"\xff\xda")
    return data[:-2] + data[at:-2] * _times(rng, data, 1000) + data[-2:] if at > 0 else data


def _bmp_header(rng: Rng, data: bytes) -> bytes:
    field, form = ((18, "<I"), (22, "<I"), (26, "<H"), (28, "<H"), (30, "<I"), (10, "<I"), (14, "<I"), (46, "<I"))[
        rng.integers(8)
    ]
    value = struct.pack(form, _odd(rng) & (0xFFFF if form == "<H" else 0xFFFFFFFF))
    return data[:field] + value + data[field + len(value) :]


def _riff_chunks(rng: Rng, data: bytes) -> bytes:
    parts, at = [], 12
    while at + 8 <= len(data):
        length = 8 + int.from_bytes(data[at + 4 : at + 8], "little")
        parts.append(data[at : at + length + length % 2])
        at += length + length % 2
    body = b"WEBP" + b"".join(_rearranged(rng, parts))
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _tags(rng: Rng, data: bytes) -> bytes:
    """Change entries of a TIFF's tags, or of those in the EXIF data of another format."""
    starts = [at for mark in (b"II*\0", b"MM\0*") if (at := data.find(mark)) >= 0]
    if not starts:
        return _odd_number(rng, data)
    start = starts[0]
    order = "<" if data[start : start + 1] == b"I" else ">"
    changed = bytearray(data)
    try:
        table = start + struct.unpack_from(f"{order}I", data, start + 4)[0]
        count = min(struct.unpack_from(f"{order}H", data, table)[0], 1000)
        for _ in range(rng.integers(1, 4)):
            entry = table + 2 + 12 * int(rng.integers(count + 1))
            field, form = ((0, "H"), (2, "H"), (4, "I"), (8, "I"))[rng.integers(4)]
            # The last entry is the pointer to the next table: back to this one, or anywhere.
            value = int(rng.choice([_odd(rng), table - start, 8, rng.integers(20), 254 + rng.integers(100)]))
            value &= 0xFFFF if form == "H" else 0xFFFFFFFF
            struct.pack_into(order + form, changed, entry + field, value)
    except struct.error:
        return _odd_number(rng, data)
    return bytes(changed)


def _tiff_pages(rng: Rng, data: bytes) -> bytes:
    """A chain of very many pages, each with the tags of the first, sometimes ending where it began."""
    try:
        order = "<" if data[:1] == b"I" else ">"
        table = struct.unpack_from(f"{order}I", data, 4)[0]
        length = 2 + 12 * struct.unpack_from(f"{order}H", data, table)[0]
    except struct.error:
        return data
    entries, count = data[table : table + length], int(rng.choice([2, 64, 65, 3000]))
    if len(entries) < length or length * count > 2**22:
        return data
    following = [len(data) + page * (length + 4) for page in range(1, count)] + [int(rng.choice([0, table, 8]))]
    pages = b"".join(entries + struct.pack(f"{order}I", place) for place in following)
    return data[: table + length] + struct.pack(f"{order}I", len(data)) + data[table + length + 4 :] + pages


_DICOM_NUMBERS = (
    *("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "SamplesPerPixel"),
    *("PlanarConfiguration", "NumberOfFrames", "WindowCenter", "WindowWidth", "RescaleSlope", "RescaleIntercept"),
)
_DICOM_WORDS = ("PhotometricInterpretation", "Modality", "VOILUTFunction", "BodyPartExamined", "SOPClassUID")
_ODD_WORDS = (
    "",
    "MONOCHROME1",
    "RGB",
    "YBR_FULL",
    "YBR_FULL_422",
    "PALETTE COLOR",
    "SIGMOID",
    "CR",
    "\\",
    "1e400",
    "-",
)


def _dicom_elements(rng: Rng, data: bytes) -> bytes:
    """Other numbers and words in elements that are there or not, with lengths that are right."""
    try:
        made = pydicom.dcmread(io.BytesIO(data))
        for _ in range(rng.integers(1, 4)):
            if rng.integers(3):
                name = _DICOM_NUMBERS[rng.integers(len(_DICOM_NUMBERS))]
                setattr(made, name, int(rng.choice([_odd(rng) & 0xFFFF, 1, 8, 16, 12])))
            else:
                name = _DICOM_WORDS[rng.integers(len(_DICOM_WORDS))]
                setattr(made, name, _ODD_WORDS[rng.integers(len(_ODD_WORDS))])
        stream = io.BytesIO()
        pydicom.dcmwrite(stream, made)
    except Exception:  # damaged before
        return _odd_number(rng, data)
    return stream.getvalue()


def _dicom_pixels(rng: Rng, data: bytes) -> bytes:
    """Damage the pixel data alone, at the end of the file, where the decoders look."""
    if not data:
        return data
    keep = len(data) - int(rng.integers(1, 1 + min(len(data), 3000)))
    return data[:keep] + _pick(rng, (_flip_bits, _overwrite, _cut_out, _odd_number))(rng, data[keep:])


ANY = (_flip_bits, _overwrite, _cut_off, _cut_out, _append, _wrong_beginning, _swap_blocks, _odd_number)
_SPECIAL: dict[str, tuple[Callable[[Rng, bytes], bytes], ...]] = {
    "JPEG": (_jpeg_segments, _jpeg_segments, _jpeg_size, _jpeg_size, _jpeg_scans, _tags),
    "PNG": (_png_chunks, _png_chunks, _png_chunks, _png_size, _png_size, _tags),
    "BMP": (_bmp_header, _bmp_header, _bmp_header, _bmp_header),
    "TIFF": (_tags, _tags, _tags, _tags, _tags, _tiff_pages),
    "DICOM": (_dicom_elements, _dicom_elements, _dicom_elements, _dicom_pixels, _dicom_pixels, _dicom_pixels),
    "WEBP": (_riff_chunks, _riff_chunks, _riff_chunks, _tags),
}

if __name__ == "__main__":
    sys.stdout.buffer.write(damaged(int(sys.argv[1]), int(sys.argv[2])))
