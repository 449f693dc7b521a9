"""What became of files that came together, for the table that answers them."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.records.results import results_of
from core.tables import ArrivalRadiographRow, ArrivalRow, JobStatus


@dataclass(frozen=True)
class SummaryRow:
    """One radiograph of an arrival, or an arrival that became none."""

    name: str  # as stored: of DICOM a keyed hash
    sha256: str | None
    radiograph: int | None
    status: str
    label: str | None
    confidence: float | None
    fracture_probability: float | None
    fracture_label: str | None  # as the binary model's own threshold decides
    flags: str | None  # with spaces between them, as in the other tables
    model: str | None
    error: str | None

    @property
    def good(self) -> bool:
        """Whether it was classified."""
        return self.status == JobStatus.DONE


def arrivals_with(session: Session, came_with: str) -> list[SummaryRow]:
    """Return what became of every arrival that came in together, oldest first."""
    together = ArrivalRow.came_with == came_with
    arrivals = session.scalars(select(ArrivalRow).where(together).order_by(ArrivalRow.id)).all()
    links = select(ArrivalRadiographRow.arrival_id, ArrivalRadiographRow.radiograph_id).join(
        ArrivalRow, ArrivalRow.id == ArrivalRadiographRow.arrival_id
    )
    became: dict[int, list[int]] = {}
    for arrival_id, radiograph_id in session.execute(links.where(together).order_by(ArrivalRow.id)):
        became.setdefault(arrival_id, []).append(radiograph_id)
    results = results_of(session, sorted({number for numbers in became.values() for number in numbers}))
    rows = []
    for arrival in arrivals:
        for number in became.get(arrival.id, ()):
            result = results[number]
            rows.append(
                SummaryRow(
                    name=arrival.name,
                    sha256=arrival.sha256,
                    radiograph=number,
                    status="waiting" if result.status is None else result.status.value,
                    label=result.label,
                    confidence=result.confidence,
                    fracture_probability=result.fracture.probability if result.fracture else None,
                    fracture_label=result.fracture.label if result.fracture else None,
                    flags=" ".join(result.flags),
                    model=result.model,
                    error=result.error["words"] if result.error else None,
                )
            )
        if arrival.id not in became:
            rows.append(
                SummaryRow(
                    name=arrival.name,
                    sha256=arrival.sha256,
                    radiograph=None,
                    status=arrival.status.value,
                    label=None,
                    confidence=None,
                    fracture_probability=None,
                    fracture_label=None,
                    flags=None,
                    model=None,
                    error=arrival.error_words,
                )
            )
    return rows
