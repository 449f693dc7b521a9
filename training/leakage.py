"""The rule that makes a figure honest: no image and no source on both sides of a split."""

from __future__ import annotations

from collections.abc import Sequence

from core.errors import ConfigurationError
from training.sample import Sample

_SHOWN = 3


def refuse_leakage(samples: Sequence[Sample]) -> None:
    """Accept the samples only if no file and no cluster lies in two splits.

    Source: on bone-break's own folders 37 % of the test images have a near-duplicate in train, and copying the label
    of the most similar thumbnail scores 0.77 on those against 0.15 on the others (its README).

    Raises:
        ConfigurationError: Names some of the images.
    """
    problems = []
    for what, key in (("the same file", "sha256"), ("one source", "cluster")):
        first: dict[str, Sample] = {}
        pairs = []
        for sample in samples:
            other = first.setdefault(getattr(sample, key), sample)
            if other.split != sample.split:
                pairs.append(f"{other.path} ({other.split}) and {sample.path} ({sample.split})")
        if pairs:
            more = f" and {len(pairs) - _SHOWN} more" if len(pairs) > _SHOWN else ""
            problems.append(f"Two splits share {what}: {'; '.join(pairs[:_SHOWN])}{more}. Keep each in one split only.")
    if problems:
        raise ConfigurationError.of(problems)
