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
