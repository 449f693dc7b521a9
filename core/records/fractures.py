"""The binary question of a radiograph that was asked several: how likely is it fractured at all?

An unbroken bone must not be forced into ten types of fracture. Where a model of the task `fracture` has answered, each
result therefore carries its answer too, and whoever shows the result says that first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.tables import ModelVersionRow, PredictionRow, ScoreRow

FRACTURE_TASK = "fracture"
#: How a label begins that denies a fracture: not-fractured, no-fracture, normal.
_DENIALS = ("no-", "non-", "not-", "normal")
#: Most ids in one statement.
_PAGE = 500


@dataclass(frozen=True, kw_only=True)
class Fracture:
    """What the binary model says. Research and education only, never a diagnosis."""

    probability: float  # of a fracture, calibrated, 0 to 1
    label: str  # as the model's own threshold decides: fractured from a probability below one half on, perhaps
    model: str  # NAME/VERSION
    flags: tuple[str, ...] = ()

    @property
    def suspected(self) -> bool:
        """Whether the label says fractured."""
        return affirms(self.label)

    def document(self) -> dict[str, Any]:
        """Return it as JSON types; the keys are a contract."""
        return {"probability": self.probability, "label": self.label, "model": self.model, "flags": list(self.flags)}


def affirms(label: str) -> bool:
    """Tell whether a binary model's label means a fracture."""
    return not label.startswith(_DENIALS)


def fracture_probability(scores: Mapping[str, float]) -> float:
    """Return a binary model's probability of a fracture, 0 to 1: that of the labels which do not deny one."""
    return sum(score for label, score in scores.items() if affirms(label))


def fractures_of(session: Session, radiograph_ids: Sequence[int]) -> dict[int, Fracture]:
    """Return the binary answers of some radiographs, by their ids; those without one are left out.

    Where several versions have answered, an active one counts, and of those the newest answer.
    """
    found: dict[int, Fracture] = {}
    for start in range(0, len(radiograph_ids), _PAGE):
        rows = session.execute(
            select(PredictionRow, ModelVersionRow.name, ModelVersionRow.version)
            .join(ModelVersionRow, ModelVersionRow.id == PredictionRow.model_version_id)
            .where(
                PredictionRow.radiograph_id.in_(radiograph_ids[start : start + _PAGE]),
                ModelVersionRow.task == FRACTURE_TASK,
            )
            .order_by(ModelVersionRow.active, PredictionRow.id)
        ).all()
        scores: dict[int, dict[str, float]] = {}
        wanted = select(ScoreRow).where(ScoreRow.prediction_id.in_([prediction.id for prediction, _, _ in rows]))
        for score in session.scalars(wanted):
            scores.setdefault(score.prediction_id, {})[score.label] = score.probability
        for prediction, name, version in rows:  # the last one counts
            found[prediction.radiograph_id] = Fracture(
                probability=fracture_probability(scores.get(prediction.id, {})),
                label=prediction.label,
                model=f"{name}/{version}",
                flags=tuple(prediction.flags),
            )
    return found
