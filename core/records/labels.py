"""The labels that people gave, as far as they can be learnt from: one a radiograph, and why others have none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import exists, select
from sqlalchemy.orm import Session, aliased

from core.records.fractures import FRACTURE_TASK, affirms
from core.tables import FIRST, SECOND, RadiographRow, ReadingRow, ReviewKind

_SECOND = aliased(ReadingRow)
_FRACTURED, _NOT_FRACTURED = "fractured", "not-fractured"

#: Why a reviewed radiograph has no label to learn from, for people; each goes on from a number of radiographs.
UNSURE = "whose reader was unsure"
WITHDRAWN = "whose reading was taken back"
DISAGREED = "on which the two readers disagree"
UNBROKEN = "that are not fractured, and so of no kind"


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """A radiograph and the label that stands."""

    id: int
    sha256: str  # of the content as it came
    frame: int
    media_type: str
    storage_key: str
    label: str
    readings: int  # how many readers said so


def is_anything_reviewed(session: Session) -> bool:
    """Tell whether there is any reading at all."""
    return bool(session.scalar(select(exists().where(ReadingRow.reading == FIRST))))


def labels_of_readers(session: Session, task: str, left_out: Counter[str]) -> Iterator[Labelled]:
    """Yield what was labelled, by radiograph.

    The first reading that stands gives the label. A second reading gives none, but can take one away: where the two
    disagree, or the second reader was unsure, nobody knows the truth, and the radiograph is left out.

    Args:
        session: An open transaction.
        task: `fracture-type`: the kinds, without unbroken bones; `fracture`: fractured or not, and kinds count as
            fractured, so readers who name two kinds agree.
        left_out: Is told how many were left out, by the words above.
    """
    row = RadiographRow
    columns = (row.id, row.sha256, row.frame, row.media_type, row.storage_key)
    query = (
        select(*columns, ReadingRow.kind, ReadingRow.label, _SECOND.kind, _SECOND.label)
        .join(ReadingRow, ReadingRow.radiograph_id == row.id)
        .outerjoin(_SECOND, (_SECOND.radiograph_id == row.id) & (_SECOND.reading == SECOND))
        .where(ReadingRow.reading == FIRST)
        .order_by(row.id)
        .execution_options(yield_per=1000)
    )
    for number, sha256, frame, media_type, key, kind, label, second_kind, second_label in session.execute(query):
        reason = None
        said, again = _said(label, task), _said(second_label, task)
        if kind == ReviewKind.WITHDRAWN:
            reason = WITHDRAWN
        elif ReviewKind.UNSURE in (kind, second_kind):
            reason = UNSURE
        elif second_kind == ReviewKind.LABELLED and said != again:
            reason = DISAGREED
        elif task != FRACTURE_TASK and not affirms(said):
            reason = UNBROKEN
        if reason is None:
            readings = 2 if second_kind == ReviewKind.LABELLED else 1
            yield Labelled(
                id=number,
                sha256=sha256,
                frame=frame,
                media_type=media_type,
                storage_key=key,
                label=said,
                readings=readings,
            )
        else:
            left_out[reason] += 1


def _said(label: str | None, task: str) -> str:
    if label is None or task != FRACTURE_TASK:
        return label or ""
    return _FRACTURED if affirms(label) else _NOT_FRACTURED
