"""File names as nobody should write them and somebody will."""

from __future__ import annotations

import unicodedata

import numpy as np

Rng = np.random.Generator

_PIECES = (
    *(
        "wrist",
        "WRIST",
        "Wrist",
        "hand (2)",
        "x" * 300,
        "\N{HANGUL SYLLABLE GAG}" * 90,
        "é",
        "e\N{COMBINING ACUTE ACCENT}",
    ),
    *(" ", "  ", "-", "--", "-rf", "..", ".", "...", "~", "~$", "\n", "\r\n", "\t", "\x01", "\x1b[31m", "\x7f", "\x85"),
    *(
        "%",
        "%2e%2e%2f",
        "%00",
        "%s",
        "{0}",
        "$(id)",
        "`id`",
        ";",
        "|",
        "&",
        "*",
        "?",
        "'",
        '"',
        "\\",
        "..\\",
        "C:\\",
        "<b>",
    ),
    *(
        "\N{RIGHT-TO-LEFT OVERRIDE}",
        "\N{ZERO WIDTH SPACE}",
        "\N{BYTE ORDER MARK}",
        "\N{BONE}",
        "\N{LATIN SMALL LIGATURE FI}",
    ),
    *("CON", "nul", "aux", "Thumbs.db", ".reason.txt", ".png.reason.txt", ".part", ".tmp", ".lock", "=1+1", "+1", "@x"),
)
_ENDINGS = ("", ".png", ".PNG", ".jpg", ".tif", ".", " ", ".png.", " .png", " (2).png", ".reason.txt", "." + "y" * 40)
_NO_TEXT = (b"\xff", b"\xfe\xff", b"\xc3", b"\xc3(", b"\xed\xa0\x80", b"\xf0\x9f\xa6", b"\x80abc")


def odd_name(rng: Rng, *, only_files: bool = True) -> bytes:
    """Return a name; as a rule one that a file may have: 1 to 255 bytes without `/` and zero bytes."""
    parts = [_PIECES[rng.integers(len(_PIECES))].encode() for _ in range(rng.integers(1, 4))]
    if rng.integers(5) == 0:
        parts.insert(int(rng.integers(len(parts) + 1)), _NO_TEXT[rng.integers(len(_NO_TEXT))])
    ending = _ENDINGS[rng.integers(len(_ENDINGS))].encode()
    if not only_files:
        extra = (b"/", b"../", b"/etc/", b"\0", b"\r\nX-Evil: 1", b'"; filename="other', b"")[rng.integers(7)]
        return extra + b"".join(parts) + ending
    name = b"".join(parts)[: 255 - len(ending)] + ending
    return b"dots" if name in (b".", b"..", b"") else name


def clashing(rng: Rng, name: bytes) -> bytes:
    """Return the same name in another case or another normal form, where it has one."""
    try:
        text = name.decode()
    except UnicodeDecodeError:
        return name
    forms = (
        text.swapcase(),
        text.upper(),
        unicodedata.normalize("NFD", text),
        unicodedata.normalize("NFC", text),
        text,
    )
    changed = forms[rng.integers(len(forms))].encode()
    return changed if len(changed) <= 255 else name
