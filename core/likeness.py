"""The same radiograph in another dress: a hash to look it up by, and the check that says so.

The hash alone is no evidence (`core.near_duplicates`): it only proposes. It is kept as four bands of 16 bits, each with
an index. Two hashes that differ in at most 7 of 64 bits differ in at most one bit of some band, so that asking for
each band's value and its 16 neighbours finds all of them without a scan.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core.near_duplicates import SIDE, Thumbnails, find_near_duplicates, upright_hashes

#: Bands of a hash, and the bits of each.
BANDS, BAND_BITS = 4, 16
#: Greatest distance of two hashes that is always found, in bits.
REACH = 2 * BANDS - 1


def fingerprint(pixels: NDArray[np.uint8]) -> int:
    """Return the 64-bit perceptual hash of a decoded radiograph, as it stands.

    Args:
        pixels: (height, width); 0 is black. Its size hardly matters.
    """
    # Reduced by whole numbers first: half the time for the same hash but for a bit or so.
    small = np.asarray(Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BOX, reducing_gap=2.0))
    return int(upright_hashes(small[np.newaxis])[0])


def bands(mark: int) -> tuple[int, ...]:
    """Cut a hash into its bands, 0 to 65535 each, the lowest bits first."""
    return tuple(mark >> (BAND_BITS * place) & (2**BAND_BITS - 1) for place in range(BANDS))


def joined(parts: Sequence[int]) -> int:
    """Put a hash together from its bands."""
    return sum(part << (BAND_BITS * place) for place, part in enumerate(parts))


def neighbours(band: int) -> Iterator[int]:
    """Return a band's value and those that differ from it in one bit."""
    yield band
    for bit in range(BAND_BITS):
        yield band ^ (1 << bit)


def distance(one: int, other: int) -> int:
    """Count the bits in which two hashes differ."""
    return (one ^ other).bit_count()


def alike(one: Thumbnails, others: Sequence[Thumbnails]) -> dict[int, float]:
    """Compare one picture's detail with that of others, laid on each other.

    Args:
        one: From `near_duplicates.thumbnail`.
        others: The same.

    Returns:
        The position of each of the others that shows the same, and how alike it is, at most 2.
    """
    found = find_near_duplicates(np.stack([one, *others]), [0, *([1] * len(others))])
    return {pair.second - 1: pair.likeness for pair in found}
