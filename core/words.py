"""Numbers with their nouns, as people write them."""

from __future__ import annotations


def counted(count: int, one: str, many: str = "") -> str:
    """Write a number with its noun.

    Args:
        count: How many.
        one: What follows 1: "file", "job waits".
        many: What follows any other number; empty: `one` with an s.
    """
    return f"{count} {one if count == 1 else many or one + 's'}"


def none_usable(files: int) -> str:
    """Say that of so many files none could be used, without the full stop."""
    return "Its only file could not be used" if files == 1 else f"None of its {files} files could be used"
