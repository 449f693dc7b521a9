"""Deal images out to splits where the data set has none: by class, in the order of a hash, copies kept together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import core.dealing
from core.near_duplicates import find_near_duplicates, join_pairs
from training.pictures import load_thumbnails
from training.sample import Sample


def deal(samples: Sequence[Sample], shares: Mapping[str, float], groups: Sequence[int]) -> list[Sample]:
    """Give each sample a split; nothing is random, and the same images are dealt the same way wherever they lie.

    Args:
        samples: In any order.
        shares: Split to its share of each class, 0 to 1; what is left is `train`.
        groups: (N,) numbers; samples of one number go to one split.

    Returns:
        The samples in their order. Those of a group share a cluster.
    """
    splits = core.dealing.deal(
        [sample.label for sample in samples], [sample.sha256 for sample in samples], groups, shares
    )
    firsts: dict[int, Sample] = {}
    for sample, group in zip(samples, groups, strict=True):
        firsts[group] = min(firsts.get(group, sample), sample, key=lambda each: each.sha256)
    return [
        replace(sample, split=split, cluster=firsts[group].cluster)
        for sample, split, group in zip(samples, splits, groups, strict=True)
    ]


def group_copies(samples: Sequence[Sample], *, max_pixels: int) -> list[int]:
    """Return (N,) numbers: the same for one file, one source and near-duplicates, directly or through others.

    Raises:
        ConfigurationError: An image cannot be decoded.
    """
    pairs = [(pair.first, pair.second) for pair in find_near_duplicates(load_thumbnails(samples, max_pixels))]
    for key in ("sha256", "cluster"):
        first: dict[str, int] = {}
        pairs += [
            (first.setdefault(getattr(sample, key), position), position) for position, sample in enumerate(samples)
        ]
    return join_pairs(len(samples), pairs)
