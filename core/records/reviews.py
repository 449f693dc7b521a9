"""What people say of radiographs. Append-only: a change of mind is another review, and the newest one stands.

The first reading sees the model's answer; the second is another person's, who sees neither that nor the first. Whoever
reviews says which review was the newest on the screen (`seen`): if there is a newer one, nothing is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import CursorResult, select, update
from sqlalchemy.orm import Session

from core.database import insert_ignoring, now
from core.errors import NoFirstReading, NotFound, ReviewConflict, SameReader
from core.records.events import Event, record_events
from core.records.fractures import affirms
from core.records.results import Result, get_radiograph
from core.tables import FIRST, SECOND, ModelVersionRow, ReadingRow, ReviewKind, ReviewRow

#: What a reader says of an unbroken bone, beside the kinds of fracture.
NOT_FRACTURED = "not-fractured"
_MAIN_TASK = "fracture-type"


@dataclass(frozen=True, kw_only=True)
class Review:
    """What one person said once."""

    id: int
    radiograph_id: int
    reading: int
    reviewer: str
    kind: ReviewKind | None  # None: hidden
    label: str | None
    note: str
    model: str | None  # NAME/VERSION whose answer was shown; None: none was
    shown: str | None  # the label that was shown
    created_at: datetime
    hidden: bool = False  # what was said is kept from who asks, who may have to read second


@dataclass(frozen=True, kw_only=True)
class Word:
    """What a reader wants to say."""

    kind: ReviewKind
    label: str | None = None  # with `ReviewKind.LABELLED`
    note: str = ""
    model: str | None = None
    shown: str | None = None

    @property
    def agreed(self) -> bool | None:
        """Whether the label is the one that was shown."""
        return None if self.label is None or self.shown is None else self.label == self.shown


def review_labels(session: Session) -> tuple[str, ...]:
    """Return what a reader can choose: the labels of the models of kinds of fracture, then `NOT_FRACTURED`."""
    query = select(ModelVersionRow.card).where(ModelVersionRow.task == _MAIN_TASK)
    cards = session.scalars(query.order_by(ModelVersionRow.active.desc(), ModelVersionRow.id.desc())).all()
    labels = dict.fromkeys(str(label) for card in cards for label in card.get("labels", ()))
    return (*(label for label in labels if affirms(label)), NOT_FRACTURED)


def shown_label(result: Result) -> str | None:
    """Return the answer that people see first: that no fracture is suspected, else its kind."""
    if result.fracture is not None and not result.fracture.suspected:
        return NOT_FRACTURED
    return result.label


def add_review(
    session: Session, radiograph_id: int, word: Word, *, reading: int, reviewer: str, seen: int, actor: str
) -> Review:
    """Append a review; it stands from now on.

    Args:
        session: A transaction that may write; to be rolled back when this raises.
        radiograph_id: Of which radiograph.
        word: What is said.
        reading: `FIRST` or `SECOND`.
        reviewer: Who says it.
        seen: The id of the newest review of this reading that the reader knew of; 0: none.
        actor: Who asked for it, for the audit trail, as for every other request: `user:anna`.

    Raises:
        NotFound: There is no such radiograph.
        ReviewConflict: There is a newer review; says whose.
        NoFirstReading: A second reading without a first.
        SameReader: Both readings by one person.
    """
    get_radiograph(session, radiograph_id)
    if reading == SECOND:
        _check_second(session, radiograph_id, reviewer)
    at = now(session)
    row = ReviewRow(radiograph_id=radiograph_id, reading=reading, reviewer=reviewer, created_at=at, **vars(word))
    session.add(row)
    session.flush()
    standing = {
        "review_id": row.id,
        "reviewer": reviewer,
        "kind": word.kind,
        "label": word.label,
        "agreed": word.agreed,
    }
    if not _stand(session, radiograph_id, reading, seen, standing):
        raise _conflict(session, radiograph_id, reading)
    kind = "review-withdrawn" if word.kind == ReviewKind.WITHDRAWN else "reviewed"
    detail = {"review": row.id, "reading": reading, "reviewer": reviewer, "label": word.label}
    record_events(session, at, [Event(kind=kind, actor=actor, radiograph_id=radiograph_id, detail=detail)])
    return _review(row)


def withdraw_last(session: Session, reviewer: str, *, actor: str) -> Review:
    """Take back a reader's newest review that stands; what it replaced does not come back.

    Args:
        session: A transaction that may write.
        reviewer: Whose review.
        actor: As for `add_review`.

    Raises:
        NotFound: None of theirs stands.
    """
    query = (
        select(ReviewRow)
        .join(ReadingRow, ReadingRow.review_id == ReviewRow.id)
        .where(ReviewRow.reviewer == reviewer, ReviewRow.kind != ReviewKind.WITHDRAWN)
        .order_by(ReviewRow.id.desc())
        .limit(1)
    )
    row = session.scalars(query).one_or_none()
    if row is None:
        raise NotFound(f"No review by {reviewer} stands that could be taken back.")
    word = Word(kind=ReviewKind.WITHDRAWN)
    return add_review(
        session, row.radiograph_id, word, reading=row.reading, reviewer=reviewer, seen=row.id, actor=actor
    )


def reviews_of(session: Session, radiograph_id: int) -> list[Review]:
    """Return every review of a radiograph, oldest first."""
    query = select(ReviewRow).where(ReviewRow.radiograph_id == radiograph_id).order_by(ReviewRow.id)
    return [_review(row) for row in session.scalars(query)]


def reviews_for(session: Session, radiograph_id: int, reader: str | None) -> list[Review]:
    """Return every review of a radiograph as a reader may see them: who and when always, what was said perhaps not.

    Who may still give the second reading sees nothing that others said. That is everybody who reviews, but who read
    first, as long as no second reading stands.

    Args:
        session: An open transaction.
        radiograph_id: Of which radiograph.
        reader: Who asks; None: somebody who reviews nothing, and sees all.
    """
    reviews = reviews_of(session, radiograph_id)
    if reader is None or not may_read_second(session, radiograph_id, reader):
        return reviews
    return [review if review.reviewer == reader else _hidden(review) for review in reviews]


def may_read_second(session: Session, radiograph_id: int, reader: str) -> bool:
    """Tell whether a reader may still give a radiograph's second reading, blind."""
    first, second = (session.get(ReadingRow, (radiograph_id, reading)) for reading in (FIRST, SECOND))
    if second is not None and second.kind != ReviewKind.WITHDRAWN:
        return False
    return first is None or first.kind == ReviewKind.WITHDRAWN or first.reviewer != reader


def standing_reviews(session: Session, radiograph_ids: Sequence[int], reading: int = FIRST) -> dict[int, Review]:
    """Return the review that stands for each of some radiographs, by their ids, withdrawn ones included."""
    query = (
        select(ReviewRow)
        .join(ReadingRow, ReadingRow.review_id == ReviewRow.id)
        .where(ReadingRow.radiograph_id.in_(radiograph_ids), ReadingRow.reading == reading)
    )
    return {row.radiograph_id: _review(row) for row in session.scalars(query)}


def _check_second(session: Session, radiograph_id: int, reviewer: str) -> None:
    first = session.get(ReadingRow, (radiograph_id, FIRST))
    if first is None or first.kind == ReviewKind.WITHDRAWN:
        raise NoFirstReading
    if first.reviewer == reviewer:
        raise SameReader(f"{reviewer} has read this radiograph first; a second reading has to come from somebody else.")


def _stand(session: Session, radiograph_id: int, reading: int, seen: int, standing: dict[str, object]) -> bool:
    """Let a review stand if the one that its reader knew of stood until now; two at once cannot both."""
    if not seen:
        insert_ignoring(session, ReadingRow, [{"radiograph_id": radiograph_id, "reading": reading, **standing}])
        query = select(ReadingRow.review_id).where(
            ReadingRow.radiograph_id == radiograph_id, ReadingRow.reading == reading
        )
        return session.scalar(query) == standing["review_id"]
    result = session.execute(
        update(ReadingRow)
        .where(ReadingRow.radiograph_id == radiograph_id, ReadingRow.reading == reading, ReadingRow.review_id == seen)
        .values(**standing)
        .execution_options(synchronize_session=False)
    )
    assert isinstance(result, CursorResult)  # noqa: S101 - tells the type checker; an UPDATE has no other result
    return result.rowcount == 1


def _conflict(session: Session, radiograph_id: int, reading: int) -> ReviewConflict:
    newest = standing_reviews(session, [radiograph_id], reading).get(radiograph_id)
    if newest is None:
        return ReviewConflict("There is no such review to replace; look at the radiograph again.")
    # Not what was said: whoever is told may have to read second.
    return ReviewConflict(
        f"{newest.reviewer} reviewed this radiograph meanwhile ({newest.created_at:%Y-%m-%d %H:%M:%S} UTC); "
        "nothing of yours was kept, nothing was overwritten. Look at it again."
    )


def _hidden(review: Review) -> Review:
    return replace(review, kind=None, label=None, note="", shown=None, hidden=True)


def _review(row: ReviewRow) -> Review:
    return Review(**{name: getattr(row, name) for name in Review.__dataclass_fields__ if name != "hidden"})
