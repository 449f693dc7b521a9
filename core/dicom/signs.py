"""Tell DICOM from everything else by a file's first bytes; needs no library, so that other files cost nothing."""

from __future__ import annotations

import re

MEDIA_TYPE = "application/dicom"
#: The prefix that a file of PS3.10 carries behind 128 bytes of anything.
_PREFIX, _PREFIX_AT = b"DICM", 128
#: A data set without that header: its first elements are of group 2 or 8, with a VR or a short length behind the tag.
_BARE = re.compile(rb".{0,8}?[\x02\x08]\0.\0(?:(?:UI|CS|DA|TM|SH|LO|PN|UL|DT)..|.\0\0\0[ -~\0])", re.DOTALL)
SUFFIXES = (".dcm", ".dicom", ".dic", ".ima")


def is_dicom(data: bytes) -> bool:
    """Whether a file says that it is DICOM."""
    return data[_PREFIX_AT : _PREFIX_AT + len(_PREFIX)] == _PREFIX


def is_bare(data: bytes) -> bool:
    """Whether a file looks like a DICOM data set whose file header is missing."""
    return not is_dicom(data) and _BARE.match(data) is not None


def may_be_dicom(name: str, beginning: bytes) -> bool:
    """Whether a file has to be treated as DICOM when it comes to names, sound or not.

    Args:
        name: As given.
        beginning: Its first bytes, as far as they could be read.
    """
    return is_dicom(beginning) or is_bare(beginning) or name.lower().endswith(SUFFIXES)
