"""The rule that makes a figure honest: no image, no copy of it and no source on both sides of a split.

Source: on bone-break's own folders 37 % of the test images have a near-duplicate in train, and copying the label of
the most similar thumbnail scores 0.77 on those against 0.15 on the others (its README).
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from core.errors import ConfigurationError
from core.near_duplicates import find_near_duplicates
from training.pictures import load_thumbnails
from training.progress import Progress
from training.sample import SPLITS, Sample

#: Name of the report: in the run folder, or where the refusal says.
LEAKAGE_FILE = "leakage.csv"
EXACT, PERCEPTUAL, SAME_SOURCE = "exact", "perceptual", "same source"
_SHOWN = 3
_MEASURES = ["kind", "distance", "likeness"]
_WORDS = {EXACT: "the same file", PERCEPTUAL: "the same picture", SAME_SOURCE: "one source"}


@dataclass(frozen=True)
class Leak:
    """Two images of different splits that should not be apart."""

    first: Sample
    second: Sample
    kind: str  # EXACT, PERCEPTUAL or SAME_SOURCE: the first that holds
    distance: int | None = None  # of their perceptual hashes, 0 to 64 bits
    likeness: float | None = None  # as `near_duplicates.NearDuplicate`


def refuse_leakage(samples: Sequence[Sample]) -> None:
    """Accept the samples only if no file and no cluster lies in two splits; no image is decoded.

    Raises:
        ConfigurationError: Names some of the images.
    """
    leaks = list(_known_leaks(samples))
    if leaks:
        raise ConfigurationError(_refusal(leaks))


def find_leaks(samples: Sequence[Sample], *, max_pixels: int, progress: Progress) -> list[Leak]:
    """Find every pair of images that leaks from one split into another.

    Args:
        samples: Of all splits.
        max_pixels: Largest picture that is decoded.
        progress: Is told of each decoded image.

    Returns:
        Same files first, then the same pictures, then one source; each pair once.

    Raises:
        ConfigurationError: An image cannot be decoded.
    """
    leaks = list(_known_leaks(samples))
    exact = {frozenset((leak.first.path, leak.second.path)) for leak in leaks if leak.kind == EXACT}
    progress.begin("looking for copies across splits", len(samples))
    thumbnails = load_thumbnails(samples, max_pixels, advance=progress.step)
    pairs = find_near_duplicates(thumbnails, [SPLITS.index(sample.split) for sample in samples])
    alike = {
        frozenset((samples[pair.first].path, samples[pair.second].path)): Leak(
            samples[pair.first], samples[pair.second], PERCEPTUAL, pair.distance, pair.likeness
        )
        for pair in pairs
    }
    only_source = [
        leak
        for leak in leaks
        if leak.kind == SAME_SOURCE and frozenset((leak.first.path, leak.second.path)) not in alike
    ]
    return [
        *(leak for leak in leaks if leak.kind == EXACT),
        *(leak for paths, leak in alike.items() if paths not in exact),
        *only_source,
    ]


def check_leakage(
    samples: Sequence[Sample], *, allowed: bool, report: Path, max_pixels: int, progress: Progress
) -> list[Leak]:
    """Look for leaks of every kind, and stop if there are any and they are not allowed.

    Args:
        samples: Of all splits.
        allowed: Whether to go on where there are some.
        report: Where the pairs are listed before stopping.
        max_pixels: Largest picture that is decoded.
        progress: Is told of each decoded image.

    Raises:
        ConfigurationError: There are leaks; says how many, names some, and where the report is. Or an image cannot be
            decoded.
    """
    leaks = find_leaks(samples, max_pixels=max_pixels, progress=progress)
    if leaks and not allowed:
        write_leaks(leaks, report)
        raise ConfigurationError(
            f"{_refusal(leaks)} {leaks_in_words(leaks)} All are in {report}; --allow-leakage trains all the same."
        )
    return leaks


def leaks_in_words(leaks: Sequence[Leak]) -> str:
    """Say in one sentence how many pairs there are, and how many test images are in one."""
    counts = count_leaks(leaks)
    return (
        f"{len(leaks)} pairs lie in two splits ({counts['exact']} the same file, {counts['perceptual']} the same "
        f"picture, {counts['same_source']} of one source); {counts['test_images_affected']} test images are in one."
    )


def count_leaks(leaks: Sequence[Leak]) -> dict[str, int]:
    """Return what run.json and the card say of them; empty if there are none.

    Returns:
        Pairs by kind, and how many images of test have a copy elsewhere, and a copy or their source elsewhere.
    """
    if not leaks:
        return {}
    kinds = Counter(leak.kind for leak in leaks)
    return {
        "exact": kinds[EXACT],
        "perceptual": kinds[PERCEPTUAL],
        "same_source": kinds[SAME_SOURCE],
        "test_images_with_copies": _test_images(leak for leak in leaks if leak.kind != SAME_SOURCE),
        "test_images_affected": _test_images(leaks),
    }


def _test_images(leaks: Iterable[Leak]) -> int:
    sides = (sample for leak in leaks for sample in (leak.first, leak.second))
    return len({sample.path for sample in sides if sample.split == "test"})


def write_leaks(leaks: Sequence[Leak], path: Path) -> None:
    """Write the report as CSV, one row a pair.

    Raises:
        ConfigurationError: The file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(
                ["path_a", "split_a", "class_a", "path_b", "split_b", "class_b", "kind", "distance", "likeness"]
            )
            for leak in leaks:
                sides = [(str(side.path), side.split, side.label) for side in (leak.first, leak.second)]
                writer.writerow([*sides[0], *sides[1], leak.kind, leak.distance, leak.likeness])
    except OSError as error:
        raise ConfigurationError(f"The report {path} cannot be written: {error.strerror}.") from error


def _known_leaks(samples: Sequence[Sample]) -> Iterator[Leak]:
    for kind, key in ((EXACT, "sha256"), (SAME_SOURCE, "cluster")):
        groups: dict[str, list[Sample]] = {}
        for sample in samples:
            groups.setdefault(getattr(sample, key), []).append(sample)
        for group in groups.values():
            for one, other in combinations(group, 2):
                if one.split != other.split and (kind == EXACT or one.sha256 != other.sha256):
                    yield Leak(one, other, kind)


def _refusal(leaks: Sequence[Leak]) -> str:
    sentences = []
    for kind, words in _WORDS.items():
        of_kind = [leak for leak in leaks if leak.kind == kind]
        if of_kind:
            pairs = [
                f"{leak.first.path} ({leak.first.split}) and {leak.second.path} ({leak.second.split})"
                for leak in of_kind[:_SHOWN]
            ]
            more = f" and {len(of_kind) - _SHOWN} more" if len(of_kind) > _SHOWN else ""
            sentences.append(f"Two splits share {words}: {'; '.join(pairs)}{more}.")
    return " ".join([*sentences, "Keep each in one split only."])
