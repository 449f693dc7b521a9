"""Deal images out to splits where the data set has none: by class, in the order of a hash, copies kept together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

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
    members: dict[int, list[Sample]] = {}
    for sample, group in zip(samples, groups, strict=True):
        members.setdefault(group, []).append(sample)
    # The least hash of a group is as good as random and depends on nothing but its images.
    firsts = {group: min(own, key=lambda sample: sample.sha256) for group, own in members.items()}
    by_class: dict[str, list[int]] = {}
    for group in sorted(members, key=lambda group: firsts[group].sha256):
        ((label, _),) = Counter(sorted(sample.label for sample in members[group])).most_common(1)
        by_class.setdefault(label, []).append(group)
    chosen: dict[int, str] = {}
    for classmates in by_class.values():
        count = sum(len(members[group]) for group in classmates)
        left = {split: share * count for split, share in shares.items()}
        for group in classmates:
            size = len(members[group])
            # At least half of a group must fit: a share is met as well as whole groups allow.
            chosen[group] = next((split for split, room in left.items() if room >= size / 2), "train")
            left[chosen[group]] = left.get(chosen[group], 0.0) - size
    return [
        replace(sample, split=chosen[group], cluster=firsts[group].cluster)
        for sample, group in zip(samples, groups, strict=True)
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
