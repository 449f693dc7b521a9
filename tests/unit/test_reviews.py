"""Reviews: append-only, one word stands, nobody overwrites what they have not seen."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace

import pytest
from sqlalchemy import func, select, update

from core.database import Database
from core.errors import NoFirstReading, NotFound, ReviewConflict, SameReader
from core.records.agreement import Rate, cohen_kappa, discrepancies, model_figures, reader_figures
from core.records.claims import Outcome, store_outcomes
from core.records.reviews import (
    NOT_FRACTURED,
    Review,
    Word,
    add_review,
    review_labels,
    reviews_of,
    standing_reviews,
    withdraw_last,
)
from core.records.worklist import first_readings, place_before, place_of, second_readings
from core.tables import FIRST, SECOND, ModelVersionRow, ReadingRow, ReviewKind, ReviewRow, Source
from tests.conftest import add_model
from tests.fakes import claimed, event_kinds, some_answer, take_in

LABELS = ("avulsion", "spiral", "oblique")
BINARY = ("fractured", "not-fractured")


@pytest.fixture
def answered(database: Database, model_id: int) -> list[int]:
    """Five radiographs with answers, the third the most doubtful, then the first."""
    take_in(database, *range(5))
    answer(database, model_id, [("spiral", 0.5), ("spiral", 0.9), ("spiral", 0.3), ("oblique", 0.8), ("oblique", 0.9)])
    with database.transaction() as session:
        session.execute(update(ModelVersionRow).values(card={"labels": list(LABELS)}))
    return [1, 2, 3, 4, 5]


def answer(database: Database, model: int, answers: Sequence[tuple[str, float]]) -> None:
    taken = claimed(database, model)
    outcomes = []
    for job, (label, confidence) in zip(taken.jobs, answers, strict=True):
        given = some_answer(label, LABELS if label in LABELS else BINARY)
        outcomes.append(Outcome(job=job, answer=replace(given, confidence=confidence)))
    with database.transaction() as session:
        store_outcomes(session, taken, outcomes, "w@test:1")


def says(
    database: Database,
    number: int,
    label: str | None,
    *,
    by: str = "anna",
    seen: int = 0,
    reading: int = FIRST,
    shown: str | None = "spiral",
) -> Review:
    word = Word(kind=ReviewKind.UNSURE if label is None else ReviewKind.LABELLED, label=label, shown=shown)
    with database.transaction() as session:
        return add_review(session, number, word, reading=reading, reviewer=by, seen=seen, actor=f"user:{by}")


def in_doubt(database: Database, model: int, **how: object) -> list[int]:
    with database.reading() as session:
        return first_readings(session, model, limit=10, **how)  # type: ignore[arg-type]


def test_a_review_stands_and_is_kept_with_what_was_shown(database: Database, answered: list[int]) -> None:
    given = says(database, 1, "oblique")
    with database.reading() as session:
        assert reviews_of(session, 1) == [given]
        assert standing_reviews(session, answered) == {1: given}
        assert session.get_one(ReadingRow, (1, FIRST)).agreed is False
    assert (given.reviewer, given.label, given.shown) == ("anna", "oblique", "spiral")
    assert event_kinds(database, 1)[-1] == "reviewed"


def test_a_change_of_mind_is_another_review_and_the_newest_stands(database: Database, answered: list[int]) -> None:
    first = says(database, 1, "oblique")
    second = says(database, 1, "spiral", seen=first.id)
    third = says(database, 1, None, by="ben", seen=second.id)
    with database.reading() as session:
        assert reviews_of(session, 1) == [first, second, third]
        assert standing_reviews(session, [1]) == {1: third}


def test_who_reviews_a_stale_page_is_told_and_nothing_is_overwritten(database: Database, answered: list[int]) -> None:
    first = says(database, 1, "oblique")
    for seen in (0, first.id + 1):
        with pytest.raises(ReviewConflict, match="anna reviewed this radiograph meanwhile"):
            says(database, 1, "spiral", by="ben", seen=seen)
    with database.reading() as session:
        assert reviews_of(session, 1) == [first]


@pytest.mark.parametrize("again", [False, True], ids=["the first", "a change"])
def test_of_readers_at_the_same_moment_one_is_heard(database: Database, answered: list[int], again: bool) -> None:
    seen = says(database, 1, "oblique").id if again else 0
    barrier, outcomes = threading.Barrier(6), []

    def read(number: int) -> None:
        barrier.wait()
        try:
            outcomes.append(says(database, 1, "spiral", by=f"reader {number}", seen=seen).id)
        except ReviewConflict:
            outcomes.append(0)

    threads = [threading.Thread(target=read, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert len(outcomes) == 6
    assert len([number for number in outcomes if number]) == 1
    with database.reading() as session:
        assert session.scalar(select(func.count()).select_from(ReviewRow)) == 1 + again
        assert standing_reviews(session, [1])[1].id == max(outcomes)


def test_the_last_review_is_taken_back_and_the_radiograph_waits_again(
    database: Database, model_id: int, answered: list[int]
) -> None:
    says(database, 3, "spiral")
    mine = says(database, 1, "oblique")
    assert in_doubt(database, model_id) == [4, 2, 5]
    with database.transaction() as session:
        taken_back = withdraw_last(session, "anna", actor="user:anna")
    assert (taken_back.radiograph_id, taken_back.kind) == (1, ReviewKind.WITHDRAWN)
    assert in_doubt(database, model_id) == [1, 4, 2, 5]
    with database.reading() as session:
        assert [review.id for review in reviews_of(session, 1)] == [mine.id, taken_back.id]
    assert event_kinds(database, 1)[-1] == "review-withdrawn"
    with database.transaction() as session:
        assert withdraw_last(session, "anna", actor="user:anna").radiograph_id == 3
    with pytest.raises(NotFound, match="No review by anna"), database.transaction() as session:
        withdraw_last(session, "anna", actor="user:anna")
    again = says(database, 1, "spiral", by="ben", seen=taken_back.id)
    assert again.label == "spiral"


def test_an_unknown_radiograph_cannot_be_reviewed(database: Database, answered: list[int]) -> None:
    with pytest.raises(NotFound):
        says(database, 99, "spiral")


# What comes next


def test_the_most_doubtful_answers_come_first_and_pages_go_on_where_they_ended(
    database: Database, model_id: int, answered: list[int]
) -> None:
    assert in_doubt(database, model_id) == [3, 1, 4, 2, 5]
    with database.reading() as session:
        place = place_of(session, 4, model_id)
        assert place is not None
        assert first_readings(session, model_id, limit=1, after=place) == [2]
        assert place_before(session, model_id, place) == 1
        assert place_of(session, 99, model_id) is None
        last = place_of(session, 3, model_id)
        assert last is not None
        assert place_before(session, model_id, last) is None


def test_what_has_been_read_is_left_out_unless_asked_for(
    database: Database, model_id: int, answered: list[int]
) -> None:
    says(database, 3, None)
    assert in_doubt(database, model_id) == [1, 4, 2, 5]
    assert in_doubt(database, model_id, reviewed_too=True) == [3, 1, 4, 2, 5]


def test_kinds_of_unsuspected_radiographs_are_no_likely_errors(database: Database, model_id: int) -> None:
    binary = add_model(database, "broken", task="fracture")
    with database.transaction() as session:
        session.execute(
            update(ModelVersionRow).where(ModelVersionRow.id == binary).values(card={"labels": list(BINARY)})
        )
    take_in(database, 1, 2)
    answer(database, model_id, [("spiral", 0.2), ("spiral", 0.3)])
    answer(database, binary, [("not-fractured", 0.9), ("fractured", 0.6)])
    assert in_doubt(database, model_id) == [2]
    assert in_doubt(database, binary) == [2, 1]


# Second readings


def test_a_second_reading_is_somebody_elses(database: Database, answered: list[int]) -> None:
    with pytest.raises(NoFirstReading):
        says(database, 1, "spiral", by="ben", reading=SECOND)
    says(database, 1, "oblique")
    says(database, 2, "oblique", by="ben")
    with pytest.raises(SameReader):
        says(database, 1, "spiral", reading=SECOND)
    with database.reading() as session:
        assert (second_readings(session, "anna", limit=9), second_readings(session, "ben", limit=9)) == ([2], [1])
    says(database, 1, "spiral", by="ben", reading=SECOND, shown=None)
    with database.reading() as session:
        assert second_readings(session, "ben", limit=9) == []
        assert second_readings(session, "carl", limit=9) == [2]
        assert standing_reviews(session, [1], SECOND)[1].label == "spiral"
        assert session.get_one(ReadingRow, (1, SECOND)).agreed is None
    with pytest.raises(ReviewConflict) as told:
        says(database, 1, "avulsion", by="carl", reading=SECOND)
    assert "spiral" not in str(told.value)  # the second reader is not told what the other one said


def test_a_first_reading_that_was_taken_back_awaits_no_second(database: Database, answered: list[int]) -> None:
    says(database, 1, "oblique")
    with database.transaction() as session:
        withdraw_last(session, "anna", actor="user:anna")
    with database.reading() as session:
        assert second_readings(session, "ben", limit=9) == []


# Figures


def test_labels_are_those_of_the_models_and_that_nothing_is_broken(database: Database, answered: list[int]) -> None:
    with database.reading() as session:
        assert review_labels(session) == (*LABELS, NOT_FRACTURED)


def test_live_figures_count_what_readers_said_against_what_the_model_said(
    database: Database, model_id: int, answered: list[int]
) -> None:
    for number, label in ((1, "spiral"), (2, "oblique"), (3, "spiral"), (4, "oblique"), (5, None)):
        says(database, number, label)
    with database.reading() as session:
        figures = model_figures(session, model_id, LABELS, binary=False)
    assert figures.confusion == {("spiral", "spiral"): 2, ("oblique", "spiral"): 1, ("oblique", "oblique"): 1}
    assert (figures.accuracy.right, figures.accuracy.all) == (3, 4)
    assert figures.per_label == {"spiral": Rate(right=2, all=2), "oblique": Rate(right=1, all=2)}
    assert figures.per_source == {Source.INBOX: Rate(right=3, all=4)}
    assert figures.labels == LABELS


def test_kinds_count_as_fractured_for_the_binary_model(database: Database, model_id: int) -> None:
    binary = add_model(database, "broken", task="fracture")
    take_in(database, 1, 2, 3)
    answer(database, binary, [("fractured", 0.6), ("not-fractured", 0.9), ("not-fractured", 0.8)])
    says(database, 1, "spiral")
    says(database, 2, "spiral")
    says(database, 3, NOT_FRACTURED)
    with database.reading() as session:
        figures = model_figures(session, binary, BINARY, binary=True)
    assert figures.confusion == {
        ("fractured", "fractured"): 1,
        ("fractured", "not-fractured"): 1,
        ("not-fractured", "not-fractured"): 1,
    }


def test_readers_are_compared_and_their_discrepancies_listed(database: Database, answered: list[int]) -> None:
    for number, (one, other) in enumerate(
        [("spiral", "spiral"), ("spiral", "oblique"), ("oblique", "oblique"), ("oblique", "oblique")], start=1
    ):
        says(database, number, one)
        says(database, number, other, by="ben", reading=SECOND)
    says(database, 5, "spiral")
    says(database, 5, None, by="ben", reading=SECOND)
    with database.reading() as session:
        figures = reader_figures(session)
        assert discrepancies(session, limit=9) == [2]
        assert discrepancies(session, limit=9, after_id=2) == []
    assert (figures.pairs, figures.agreed) == (4, 3)
    assert figures.kappa == pytest.approx(0.5)


def test_kappa_is_that_of_a_well_known_library() -> None:
    from sklearn.metrics import cohen_kappa_score

    counts = {("a", "a"): 20, ("a", "b"): 5, ("b", "a"): 10, ("b", "b"): 15, ("c", "a"): 2, ("c", "c"): 7}
    ones = [one for (one, _), count in counts.items() for _ in range(count)]
    others = [other for (_, other), count in counts.items() for _ in range(count)]
    assert cohen_kappa(counts) == pytest.approx(cohen_kappa_score(ones, others))
    assert cohen_kappa({}) is None
    assert cohen_kappa({("a", "a"): 3}) is None


def test_an_interval_is_wilsons() -> None:
    low, high = Rate(right=8, all=10).interval or (0, 0)  # 0.490 to 0.943: Newcombe 1998's method 3
    assert (low, high) == (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4))
    assert Rate(right=0, all=0).interval is None
    assert (Rate(right=5, all=5).interval or (0, 0))[1] == 1.0
