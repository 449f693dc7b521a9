"""Find copies of one picture: rescaled, stretched, re-contrasted, turned by quarters or mirrored.

A perceptual hash alone is no evidence on radiographs: two hands on the same plate look alike. On fracture-binary 1,138
pairs of different sources are within distance 6. So the hash only proposes pairs, and a pair counts when the pictures'
detail agrees once they lie on each other, first as a whole, then tile by tile.

numpy alone: the command that exports reviewed radiographs needs it where nothing of training is installed.

What it does not find: strong crops, whose hashes have nothing in common, and other views of one patient. A column
`cluster_id` in the manifest says what no program can see.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

#: Side of the thumbnails that are compared, in pixels; the whole is compared at half of it.
SIDE = 96
#: Greatest distance of two hashes, of 64 bits, that makes a pair worth a look.
CANDIDATE_BITS = 12
#: Least sum of the two correlations of a pair that counts, at most 2. Measured (training/README.md): different pictures
#: of different sources reach 0.84 on bone-break and 1.23 on fracture-binary, known copies on the latter 1.46 and more.
THRESHOLD = 1.2

_TILE = 24  # pixels of a thumbnail; 4 x 4 tiles
_WHOLE_SHIFT = 5  # pixels at half the side: how far two pictures may lie apart as a whole
_TILE_SHIFT = 2  # pixels: how far a tile may lie from where the whole put it
_CHUNK = 256  # pairs, rows of hashes, or pictures being blurred, in memory at once
_HASH_SIDE = 32  # pixels of the picture that is hashed
#: The eight slowest waves of the cosine transform (DCT-II), down and across; the others are not looked at.
_WAVES = np.cos(np.pi * np.outer(np.arange(8), 2 * np.arange(_HASH_SIDE) + 1) / (2 * _HASH_SIDE)).astype(np.float32)

Floats = NDArray[np.float32]
Thumbnails = NDArray[np.uint8]


@dataclass(frozen=True)
class NearDuplicate:
    """Two pictures that show the same, by their positions."""

    first: int
    second: int
    distance: int  # of their hashes, 0 to 64 bits, in the orientation that fits best
    likeness: float  # sum of the correlations of whole and tiles, THRESHOLD to 2


def thumbnail(pixels: NDArray[np.uint8]) -> Thumbnails:
    """Reduce a picture for comparison, its proportions included: a stretched copy is a copy.

    Args:
        pixels: (height, width) uint8; 0 is black.

    Returns:
        (SIDE, SIDE) uint8.
    """
    return np.asarray(Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BOX))


def perceptual_hashes(thumbnails: Thumbnails) -> NDArray[np.uint64]:
    """Return (8, N) 64-bit hashes of (N, SIDE, SIDE) thumbnails, in each of the eight orientations, upright first."""
    small = _hashed_size(thumbnails)
    return np.stack([_hashes(view) for view in _orientations(small)])


def upright_hashes(thumbnails: Thumbnails) -> NDArray[np.uint64]:
    """Return the (N,) hashes of these thumbnails as they stand: the first row of `perceptual_hashes`."""
    return _hashes(_hashed_size(thumbnails))


def _hashed_size(thumbnails: Thumbnails) -> Floats:
    """Return (N, side, side) of the pictures that are hashed."""
    side, step = _HASH_SIDE, SIDE // _HASH_SIDE
    small: Floats = thumbnails.reshape(-1, side, step, side, step).mean(axis=(2, 4), dtype=np.float32)
    return small


def _hashes(small: Floats) -> NDArray[np.uint64]:
    """Return (N,) hashes of (N, side, side) pictures.

    Source: the DCT hash of Zauner 2010, Implementation and Benchmarking of Perceptual Image Hash Functions, with the
    constant term left in its place and out of the median.
    """
    low = (_WAVES @ small @ _WAVES.T).reshape(len(small), 64)
    median = np.sort(low[:, 1:], axis=1)[:, 31, np.newaxis]  # of 63; `np.median` costs ten times as much
    bits: NDArray[np.uint8] = np.packbits(low > median, axis=1)
    return bits.view(np.uint64)[:, 0]


def find_near_duplicates(thumbnails: Thumbnails, groups: Sequence[int] | None = None) -> list[NearDuplicate]:
    """Find the pairs that show the same picture.

    Args:
        thumbnails: (N, SIDE, SIDE) uint8, from `thumbnail`.
        groups: (N,) numbers; only pairs of different groups are looked at. None: all pairs.

    Returns:
        The pairs, the first before the second, by their positions.
    """
    if len(thumbnails) < 2:
        return []
    first, second, distances = _candidates(perceptual_hashes(thumbnails), groups)
    wholes, details = _whole_detail(thumbnails), _fine_detail(thumbnails)
    found = []
    for start in range(0, len(first), _CHUNK):
        pairs = slice(start, start + _CHUNK)
        likeness, views, shifts = _best_fit(wholes[first[pairs]], wholes[second[pairs]])
        for position in np.flatnonzero(likeness > THRESHOLD - 1):  # the tiles can add no more than 1
            one, other = int(first[start + position]), int(second[start + position])
            turned = _orientation(details[other], int(views[position]))
            tiles = _tile_likeness(details[one], turned, shifts[position] * 2)
            if (total := float(likeness[position]) + tiles) >= THRESHOLD:
                found.append(NearDuplicate(one, other, int(distances[start + position]), round(total, 3)))
    return found


def join_pairs(count: int, pairs: Sequence[tuple[int, int]]) -> list[int]:
    """Return, for each of `count` positions, the smallest position that pairs connect it with, directly or not."""
    roots = list(range(count))

    def root(position: int) -> int:
        while roots[position] != position:
            roots[position] = roots[roots[position]]
            position = roots[position]
        return position

    for one, other in pairs:
        low, high = sorted((root(one), root(other)))
        roots[high] = low
    return [root(position) for position in range(count)]


def _orientation(pictures: Floats, view: int) -> Floats:
    """Turn (..., height, width) by `view` % 4 quarters, mirrored first from 4 on."""
    mirrored = pictures[..., ::-1] if view >= 4 else pictures
    return np.rot90(mirrored, view % 4, axes=(-2, -1))


def _orientations(pictures: Floats) -> Iterator[Floats]:
    for view in range(8):
        yield _orientation(pictures, view)


def _candidates(
    hashes: NDArray[np.uint64], groups: Sequence[int] | None
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return first, second and distance of the pairs whose hashes are alike in any orientation."""
    count = hashes.shape[1]
    group = np.arange(count) if groups is None else np.asarray(groups)
    rows: list[NDArray[np.int64]] = []
    for start in range(0, count, _CHUNK):
        upright = hashes[0, start : start + _CHUNK, np.newaxis]
        distance = np.min([np.bitwise_count(upright ^ view[np.newaxis]) for view in hashes], axis=0)
        after = np.arange(count)[np.newaxis] > np.arange(start, start + len(upright))[:, np.newaxis]
        apart = group[start : start + _CHUNK, np.newaxis] != group[np.newaxis]
        one, other = np.nonzero((distance <= CANDIDATE_BITS) & after & apart)
        rows.append(np.stack([one + start, other, distance[one, other]]).astype(np.int64))
    first, second, distances = np.concatenate(rows, axis=1)
    return first, second, distances


def _whole_detail(thumbnails: Thumbnails) -> Floats:
    """Return (N, SIDE / 2, SIDE / 2) edges of even strength, norm 1: exposure and contrast no longer matter."""
    half = SIDE // 2
    small: Floats = thumbnails.reshape(-1, half, 2, half, 2).mean(axis=(2, 4), dtype=np.float32)
    edges = small - _blurred(small, 1.2)
    even = edges / (np.sqrt(_blurred(edges * edges, 1.6)) + 2)  # 2 grey levels: noise is not made large
    norms = np.linalg.norm(even, axis=(1, 2), keepdims=True)
    whole: Floats = (even / np.maximum(norms, 1e-6)).astype(np.float32)
    return whole


def _fine_detail(thumbnails: Thumbnails) -> Floats:
    pictures = thumbnails.astype(np.float32)
    return pictures - _blurred(pictures, 1.2)


def _blurred(pictures: Floats, sigma: float) -> Floats:
    """Blur (N, height, width) by a Gaussian of `sigma` pixels, cut off at four of them; edges go on as they end."""
    reach = int(4 * sigma + 0.5)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1, dtype=np.float32) / sigma) ** 2)
    weights /= weights.sum()
    blurred = np.empty_like(pictures)
    _, height, width = pictures.shape
    for start in range(0, len(pictures), _CHUNK):
        framed = np.pad(pictures[start : start + _CHUNK], ((0, 0), (reach, reach), (reach, reach)), mode="edge")
        down = sum(weight * framed[:, step : step + height] for step, weight in enumerate(weights))
        blurred[start : start + _CHUNK] = sum(
            weight * down[:, :, step : step + width] for step, weight in enumerate(weights)
        )
    return blurred


def _best_fit(one: Floats, other: Floats) -> tuple[Floats, NDArray[np.int64], NDArray[np.int64]]:
    """Lay pairs on each other in every orientation, each shifted a little.

    Args:
        one: (P, side, side), norm 1.
        other: The same.

    Returns:
        (P,) the greatest correlation, (P,) the orientation of `other` and (P, 2) its shift in pixels there.
    """
    side, reach = one.shape[-1], _WHOLE_SHIFT
    spectrum = np.fft.rfft2(one)
    near = np.arange(-reach, reach + 1)
    maps = []
    for view in _orientations(other):
        correlation = np.fft.irfft2(spectrum * np.conj(np.fft.rfft2(view)), s=(side, side))
        maps.append(correlation[:, near[:, np.newaxis], near[np.newaxis]])
    flat = np.stack(maps, axis=1).reshape(len(one), -1)
    best = flat.argmax(axis=1)
    view, down, right = np.unravel_index(best, (8, len(near), len(near)))
    return flat[np.arange(len(one)), best], view, np.stack([near[down], near[right]], axis=1)


def _tile_likeness(one: Floats, other: Floats, shift: NDArray[np.int64]) -> float:
    """Return the median correlation of the tiles that hold most detail, three of four; each may move a little."""
    tiles = _tiles(one)
    strength = np.linalg.norm(tiles, axis=1)
    margin = 2 * _WHOLE_SHIFT + _TILE_SHIFT
    framed = np.pad(other, margin)
    best = np.full(len(tiles), -1.0, dtype=np.float32)
    for down in range(-_TILE_SHIFT, _TILE_SHIFT + 1):
        for right in range(-_TILE_SHIFT, _TILE_SHIFT + 1):
            top, left = margin - shift[0] - down, margin - shift[1] - right
            moved = _tiles(framed[top : top + SIDE, left : left + SIDE])
            # One grey level of noise a pixel is added: an empty tile is like no other.
            product = (strength + _TILE) * (np.linalg.norm(moved, axis=1) + _TILE)
            np.maximum(best, (tiles * moved).sum(axis=1) / product, out=best)
    return float(np.median(best[np.argsort(-strength)[: len(tiles) * 3 // 4]]))


def _tiles(picture: Floats) -> Floats:
    """Cut (SIDE, SIDE) into (16, pixels) tiles."""
    count = SIDE // _TILE
    return picture.reshape(count, _TILE, count, _TILE).swapaxes(1, 2).reshape(count * count, -1)
