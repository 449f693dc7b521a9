"""What models answered is added up once and only once, whoever stores and whoever folds."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime

import pytest
from sqlalchemy import func, select

from core.database import Database
from core.records.claims import Outcome, store_outcomes
from core.records.tallies import BEYOND, BOUNDS, Spread, Tally, fold_tallies, monday_of, record_tally, totals, weekly
from core.tables import TallyRow
from tests.fakes import claimed, some_answer, take_in

_MONDAY = datetime(2026, 3, 2, 12, tzinfo=UTC)


def _rows(database: Database) -> int:
    with database.reading() as session:
        return session.scalars(select(func.count()).select_from(TallyRow)).one()


def _one(label: str, *, seconds: float = 0.02) -> Tally:
    tally = Tally(answers=1, confidence=0.5)
    tally.labels[label] += 1
    tally.note_time("infer", seconds)
    return tally


@pytest.mark.parametrize(
    ("seconds", "bucket"), [(0.0, "0.001"), (0.001, "0.001"), (0.0011, "0.0025"), (10.0, "10"), (10.1, BEYOND)]
)
def test_a_duration_falls_below_the_first_bound_that_it_does_not_pass(seconds: float, bucket: str) -> None:
    spread = Spread()
    spread.note("infer", seconds)
    assert dict(spread.buckets) == {bucket: 1}
    assert (spread.count, spread.seconds) == (1, seconds)


def test_bounds_rise_and_their_names_are_distinct() -> None:
    for bounds in BOUNDS.values():
        assert list(bounds) == sorted({float(f"{bound:g}") for bound in bounds})


def test_a_tally_reads_what_it_wrote_and_adds() -> None:
    tally = _one("spiral")
    tally.note_answer(some_answer())
    again = Tally.of(tally.document())
    assert again == tally
    again.add(tally)
    assert (again.answers, again.spreads["infer"].count) == (2 * tally.answers, 2)
    assert again.labels == tally.labels + tally.labels


def test_stored_answers_are_tallied_with_their_times(database: Database, model_id: int) -> None:
    take_in(database, 1, 2, 3)
    taken = claimed(database, model_id)
    outcomes = [
        Outcome(job=job, answer=some_answer(), engine="fake 1", decode_ms=3, infer_ms=30) for job in taken.jobs[1:]
    ]
    outcomes.append(Outcome(job=taken.jobs[0], failure=("damaged", "It is damaged.")))
    with database.transaction() as session:
        store_outcomes(session, taken, outcomes, "w@test:1", stored_before=0.2)
    with database.transaction() as session:
        # The lease is gone: late answers count for nothing.
        store_outcomes(session, taken, outcomes, "w@test:1")
    with database.reading() as session:
        tally = totals(session)[model_id]
    answer = some_answer()
    assert (tally.answers, dict(tally.labels)) == (2, {answer.label: 2})
    assert tally.confidence == pytest.approx(2 * answer.confidence)
    assert dict(tally.spreads["decode"].buckets) == {"0.005": 2}
    assert dict(tally.spreads["infer"].buckets) == {"0.05": 2}
    assert dict(tally.spreads["store"].buckets) == {"0.25": 1}
    assert tally.spreads["waited"].count == 2


def test_folding_beside_writers_loses_nothing_and_leaves_one_row_a_day(database: Database, model_id: int) -> None:
    days = [_MONDAY, _MONDAY.replace(day=3)]

    def write(number: int) -> None:
        with database.transaction() as session:
            record_tally(session, model_id, _one("spiral" if number % 3 else "oblique"), days[number % 2])

    def fold(_: int) -> None:
        with database.transaction() as session:
            fold_tallies(session)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: (write if number % 5 else fold)(number), range(100)))
    fold(0)
    assert _rows(database) == 2
    with database.reading() as session:
        tally = totals(session)[model_id]
    written = [number for number in range(100) if number % 5]
    assert tally.answers == tally.spreads["infer"].count == len(written)
    assert tally.labels["oblique"] == sum(number % 3 == 0 for number in written)


def test_weeks_begin_on_monday(database: Database, model_id: int) -> None:
    with database.transaction() as session:
        for at in (_MONDAY.replace(day=1), _MONDAY, _MONDAY.replace(day=8)):
            record_tally(session, model_id, _one("spiral"), at)
    with database.reading() as session:
        found = weekly(session, model_id, since=date(2026, 2, 1))
        assert {week: tally.answers for week, tally in found.items()} == {date(2026, 2, 23): 1, date(2026, 3, 2): 2}
        assert list(weekly(session, model_id, since=date(2026, 3, 3))) == [monday_of(date(2026, 3, 8))]
