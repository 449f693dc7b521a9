"""How much one request may bring."""

from __future__ import annotations

from core.settings import Settings

#: One request may be as large as this many of the largest files. Our choice: it lies on the disk twice while it is
#: read, and whoever has more sends several requests, as the page does.
_LARGEST_FILES_AT_ONCE = 4
#: For names, boundaries and further form fields.
_ENVELOPE_BYTES = 2**20


def most_body_bytes(settings: Settings) -> int:
    """Return the largest request, in bytes."""
    return _LARGEST_FILES_AT_ONCE * settings.max_file_bytes + _ENVELOPE_BYTES


def most_form_parts(settings: Settings) -> int:
    """Return how many parts a form may have: enough to count too many files and say so, instead of cutting off."""
    return 2 * settings.max_upload_files + 100
