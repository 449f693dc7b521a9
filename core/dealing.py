"""Deal labelled images out to splits: by class, in the order of a hash, what belongs together kept together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence


def deal(labels: Sequence[str], hashes: Sequence[str], groups: Sequence[int], shares: Mapping[str, float]) -> list[str]:
    """Give each image a split; nothing is random, and the same images are dealt the same way wherever they lie.

    Args:
        labels: (N,) the class of each image.
        hashes: (N,) the sha256 of each.
        groups: (N,) numbers; images of one number go to one split.
        shares: Split to its share of each class, 0 to 1; what is left is `train`.

    Returns:
        (N,) splits.
    """
    members: dict[int, list[int]] = {}
    for position, group in enumerate(groups):
        members.setdefault(group, []).append(position)
    # The least hash of a group is as good as random and depends on nothing but its images.
    least = {group: min(hashes[position] for position in own) for group, own in members.items()}
    by_class: dict[str, list[int]] = {}
    for group in sorted(members, key=lambda group: least[group]):
        ((label, _),) = Counter(sorted(labels[position] for position in members[group])).most_common(1)
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
    return [chosen[group] for group in groups]
