"""Does a model answer as it did when it was judged? Weeks of answers beside the figures of its card.

A share of a week and a share on the card are both counted from a sample. A week is outside its band when the two differ
by more than three standard errors of the difference (a dozen shares are looked at every week, and with two one of
them would be outside every other week by chance alone) and by more than five points, below which nobody would act.
What is outside says that the radiographs, or how they are taken, differ from those of the card; not why.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from core.answers import DOUBTFUL, UNLIKE_RADIOGRAPHS
from core.records.tallies import Tally

#: Weeks with fewer answers (or reviews) are shown, not judged.
LEAST_COUNT = 30
_ERRORS, _LEAST_DIFFERENCE = 3.0, 0.05
#: The splits of a card, the most telling first: many images, and none that has taught or chosen anything.
_SPLITS = ("cross-validated", "test", "valid")


@dataclass(frozen=True)
class Reference:
    """What a card says of a split, as shares of its images."""

    split: str
    images: int
    labels: Mapping[str, float]  # how often each label was given
    doubtful: float | None  # None: the card does not say
    unlike: float | None
    mean_confidence: float | None
    mean_confidence_error: float  # standard error
    wrong: float | None

    @classmethod
    def of(cls, card: Mapping[str, Any]) -> Reference | None:
        """Read a card; None: it has no figures."""
        metrics = card.get("metrics") or {}
        split = next((name for name in _SPLITS if name in metrics), None)
        if split is None:
            return None
        told = metrics[split]
        matrix = told.get("confusion_matrix") or {"labels": (), "counts": ()}
        given = [sum(column) for column in zip(*matrix["counts"], strict=True)]
        total = sum(given) or 1
        low, high = (told.get("intervals_95") or {}).get("mean_confidence", (0.0, 0.0))
        accuracy = told.get("accuracy")
        # Strangeness is fitted on the images that are cross-validated, so only another split can say how often it is.
        unlike = next(
            (metrics[name]["unlike_radiographs"]["share"] for name in _SPLITS if _tells_unlike(metrics, name)), None
        )
        return cls(
            split=split,
            images=told["images"],
            labels={label: count / total for label, count in zip(matrix["labels"], given, strict=True)},
            doubtful=(told.get("needs_a_human") or {}).get("share"),
            unlike=unlike,
            mean_confidence=told.get("mean_confidence"),
            mean_confidence_error=(high - low) / (2 * 1.96),
            wrong=None if accuracy is None else 1 - accuracy,
        )


@dataclass(frozen=True)
class Figure:
    """One figure of one week beside the card's."""

    name: str  # as a person reads it
    count: int  # what it was counted among
    value: float | None  # 0 to 1; None: nothing to count
    expected: float | None  # the card's; None: it does not say
    low: float  # of the band
    high: float

    @property
    def outside(self) -> bool:
        """Whether it has left its band; too few are never judged."""
        if self.value is None or self.expected is None or self.count < LEAST_COUNT:
            return False
        return not self.low <= self.value <= self.high


@dataclass(frozen=True)
class Week:
    """One week of one model."""

    monday: date
    answers: int
    figures: tuple[Figure, ...]


def weeks_of(
    reference: Reference | None, tallies: Mapping[date, Tally], disagreements: Mapping[date, tuple[int, int]]
) -> list[Week]:
    """Lay weeks beside a card, oldest first.

    Args:
        reference: Of the card; None: nothing is expected.
        tallies: By Monday.
        disagreements: By Monday: readings that did not agree with the model, and all.
    """
    labels = list(reference.labels) if reference else []
    labels += sorted({label for tally in tallies.values() for label in tally.labels} - set(labels))
    weeks = []
    for monday in sorted({*tallies, *disagreements}):
        tally = tallies.get(monday, Tally())
        figures = tuple(_figures(reference, labels, tally, disagreements.get(monday, (0, 0))))
        weeks.append(Week(monday, tally.answers, figures))
    return weeks


def sentences(weeks: list[Week], reference: Reference | None) -> list[str]:
    """Say which figures of the last week have left their band."""
    if not weeks or reference is None:
        return []
    week = weeks[-1]
    return [
        f"In the week of {week.monday}, {figure.name}: {figure.value:.0%} of {figure.count}; the card's "
        f"{reference.split} split lets expect {figure.low:.0%} to {figure.high:.0%}."
        for figure in week.figures
        if figure.outside
    ]


def _figures(
    reference: Reference | None, labels: list[str], tally: Tally, disagreement: tuple[int, int]
) -> Iterator[Figure]:
    expected = reference.labels if reference else {}
    doubtful, unlike, wrong = (reference.doubtful, reference.unlike, reference.wrong) if reference else (None,) * 3
    for label in labels:
        yield _share(f"answered {label}", tally.labels[label], tally.answers, reference, expected.get(label))
    yield _share("doubtful", tally.flags[DOUBTFUL], tally.answers, reference, doubtful)
    yield _share(
        "perhaps not a radiograph",
        tally.flags[UNLIKE_RADIOGRAPHS],
        tally.answers,
        reference,
        unlike,
    )
    yield _confidence(reference, tally)
    others, readings = disagreement
    yield _share("reviewers disagreed", others, readings, reference, wrong)


def _share(name: str, some: int, of: int, reference: Reference | None, expected: float | None) -> Figure:
    value = some / of if of else None
    if value is None or reference is None or expected is None:
        return Figure(name, of, value, expected, 0.0, 1.0)
    # One more of each kind, so that shares near 0 and 1 have an error too (Agresti and Caffo 2000).
    pooled = (value * of + expected * reference.images + 2) / (of + reference.images + 4)
    error = math.sqrt(pooled * (1 - pooled) * (1 / (of + 2) + 1 / (reference.images + 2)))
    return _banded(name, of, value, expected, error)


def _confidence(reference: Reference | None, tally: Tally) -> Figure:
    name, count = "mean confidence", tally.answers
    value = tally.confidence / count if count else None
    expected = reference.mean_confidence if reference else None
    if value is None or reference is None or expected is None:
        return Figure(name, count, value, expected, 0.0, 1.0)
    # The card's interval is that of its mean: the week's error follows from how many there are.
    one = reference.mean_confidence_error * math.sqrt(reference.images)
    return _banded(name, count, value, expected, one * math.sqrt(1 / count + 1 / reference.images))


def _banded(name: str, count: int, value: float, expected: float, error: float) -> Figure:
    reach = max(_ERRORS * error, _LEAST_DIFFERENCE)
    return Figure(name, count, value, expected, max(0.0, expected - reach), min(1.0, expected + reach))


def _tells_unlike(metrics: Mapping[str, Any], name: str) -> bool:
    return bool(metrics.get(name, {}).get("unlike_radiographs"))
