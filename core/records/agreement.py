"""How far model and people agree, and people among themselves: live figures from the reviews that stand."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased

from core.records.fractures import affirms
from core.records.tallies import monday_of
from core.tables import FIRST, SECOND, PredictionRow, RadiographRow, ReadingRow, ReviewKind, ReviewRow, Source

_FIRST, _SECOND = aliased(ReadingRow), aliased(ReadingRow)
#: The normal distribution's 97.5th percentile: of 95 % intervals.
_Z = 1.959964


@dataclass(frozen=True, kw_only=True)
class Rate:
    """A share of some, with its 95 % interval; None of nothing."""

    right: int
    all: int

    @property
    def share(self) -> float | None:
        """The share, 0 to 1."""
        return self.right / self.all if self.all else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Wilson's interval (1927), which also holds for few and for shares near 0 and 1."""
        if not self.all:
            return None
        share, n = self.right / self.all, self.all
        middle = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
        half = _Z / (1 + _Z**2 / n) * math.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2))
        return max(0.0, middle - half), min(1.0, middle + half)


@dataclass(frozen=True, kw_only=True)
class ModelFigures:
    """One model version against the first readings of radiographs that it has answered."""

    confusion: Mapping[tuple[str, str], int]  # (what the reader said, what the model said) to how many
    labels: tuple[str, ...]  # in the model's order, then others that readers chose
    accuracy: Rate
    per_label: Mapping[str, Rate]  # by what the reader said
    per_source: Mapping[Source, Rate]


@dataclass(frozen=True, kw_only=True)
class ReaderFigures:
    """First against second readings of the same radiographs."""

    pairs: int
    agreed: int
    kappa: float | None  # Cohen (1960); None without pairs, or where chance alone would agree


def model_figures(session: Session, model_id: int, labels: Sequence[str], *, binary: bool) -> ModelFigures:
    """Count a model's answers against the labels that readers gave.

    Args:
        session: An open transaction.
        model_id: The model version.
        labels: Its labels, in order.
        binary: Whether it answers only if there is a fracture: readers' kinds then count as that.
    """
    query = (
        select(ReadingRow.label, PredictionRow.label, RadiographRow.source, func.count())
        .join(PredictionRow, PredictionRow.radiograph_id == ReadingRow.radiograph_id)
        .join(RadiographRow, RadiographRow.id == ReadingRow.radiograph_id)
        .where(
            ReadingRow.reading == FIRST,
            ReadingRow.kind == ReviewKind.LABELLED,
            PredictionRow.model_version_id == model_id,
        )
        .group_by(ReadingRow.label, PredictionRow.label, RadiographRow.source)
    )
    positive, negative = _sides(labels)
    confusion: Counter[tuple[str, str]] = Counter()
    right, all_ = Counter[str | Source](), Counter[str | Source]()
    for said, predicted, source, count in session.execute(query):
        truth = str(said)
        if binary:
            truth = positive if affirms(truth) else negative
        confusion[truth, predicted] += count
        for group in (truth, source):
            all_[group] += count
            right[group] += count * (truth == predicted)
    order = tuple(dict.fromkeys([*labels, *sorted(truth for truth, _ in confusion)]))
    sources = [source for source in Source if all_[source]]
    return ModelFigures(
        confusion=dict(confusion),
        labels=order,
        accuracy=Rate(right=sum(right[source] for source in sources), all=sum(all_[source] for source in sources)),
        per_label={label: Rate(right=right[label], all=all_[label]) for label in order if all_[label]},
        per_source={source: Rate(right=right[source], all=all_[source]) for source in sources},
    )


def reader_figures(session: Session) -> ReaderFigures:
    """Compare the readers among themselves."""
    query = (
        select(_FIRST.label, _SECOND.label, func.count())
        .join(_SECOND, _SECOND.radiograph_id == _FIRST.radiograph_id)
        .where(
            _FIRST.reading == FIRST,
            _SECOND.reading == SECOND,
            _FIRST.kind == ReviewKind.LABELLED,
            _SECOND.kind == ReviewKind.LABELLED,
        )
        .group_by(_FIRST.label, _SECOND.label)
    )
    counts = {(str(first), str(second)): count for first, second, count in session.execute(query)}
    pairs = sum(counts.values())
    agreed = sum(count for (first, second), count in counts.items() if first == second)
    return ReaderFigures(pairs=pairs, agreed=agreed, kappa=cohen_kappa(counts))


def cohen_kappa(counts: Mapping[tuple[str, str], int]) -> float | None:
    """Return the agreement of two readers beyond chance, -1 to 1.

    Args:
        counts: (one reader's label, the other's) to how many.

    Returns:
        None without pairs, or where both always say the same one thing.

    Source: Cohen, A coefficient of agreement for nominal scales, 1960.
    """
    pairs = sum(counts.values())
    if not pairs:
        return None
    ones, others = Counter[str](), Counter[str]()
    for (one, other), count in counts.items():
        ones[one] += count
        others[other] += count
    seen = sum(count for (one, other), count in counts.items() if one == other) / pairs
    by_chance = sum(ones[label] * others[label] for label in ones) / pairs**2
    return None if by_chance == 1 else (seen - by_chance) / (1 - by_chance)


def discrepancies(session: Session, *, limit: int, after_id: int = 0) -> list[int]:
    """Return radiographs on which two readers disagree, by id."""
    query = (
        select(_FIRST.radiograph_id)
        .join(_SECOND, _SECOND.radiograph_id == _FIRST.radiograph_id)
        .where(
            _FIRST.reading == FIRST,
            _SECOND.reading == SECOND,
            _FIRST.kind == ReviewKind.LABELLED,
            _SECOND.kind == ReviewKind.LABELLED,
            _FIRST.label != _SECOND.label,
            _FIRST.radiograph_id > after_id,
        )
        .order_by(_FIRST.radiograph_id)
        .limit(limit)
    )
    return list(session.scalars(query))


def _sides(labels: Sequence[str]) -> tuple[str, str]:
    """Return a binary model's label for a fracture and the other."""
    positive = next((label for label in labels if affirms(label)), "fractured")
    negative = next((label for label in labels if not affirms(label)), "not-fractured")
    return positive, negative


def weekly_disagreement(
    session: Session, model: str, *, since: datetime, suspected_by: int | None = None
) -> dict[date, tuple[int, int]]:
    """Count readings in which a model's answer was on the screen, by week: those that did not agree, and all.

    Args:
        session: An open transaction.
        model: NAME/VERSION.
        since: Of reviews made from then on.
        suspected_by: Only of radiographs on which this model version of the binary question suspects a fracture.
    """
    query = (
        select(ReviewRow.created_at, ReadingRow.agreed, PredictionRow.label)
        .join(ReadingRow, ReadingRow.review_id == ReviewRow.id)
        .outerjoin(
            PredictionRow,
            (PredictionRow.radiograph_id == ReadingRow.radiograph_id)
            & (PredictionRow.model_version_id == suspected_by),
        )
        .where(
            ReviewRow.model == model,
            ReviewRow.created_at >= since,
            ReadingRow.reading == FIRST,
            ReadingRow.agreed.is_not(None),
        )
    )
    found: dict[date, tuple[int, int]] = {}
    for at, agreed, said in session.execute(query):
        if suspected_by is not None and (said is None or not affirms(said)):
            continue
        others, all_ = found.get(monday_of(at.date()), (0, 0))
        found[monday_of(at.date())] = (others + (not agreed), all_ + 1)
    return found
