"""What a worker claims, and what comes of it."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.exc import IntegrityError

from core.database import Database, now
from core.records.claims import (
    FIRST_PAUSE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    MOST_ATTEMPTS,
    Outcome,
    give_back,
    store_outcomes,
)
from core.records.events import events_of
from core.tables import JobRow, JobStatus, PredictionRow, ScoreRow, Source
from tests.conftest import add_model
from tests.fakes import LABELS, answered, claim, claimed, event_kinds, jobs_of, predictions, some_answer, store, take_in


def let_pauses_end(database: Database) -> None:
    with database.transaction() as session:
        session.execute(update(JobRow).values(available_at=now(session)))


# What is claimed


def test_the_highest_priority_is_claimed_first_and_then_the_oldest(database: Database, model_id: int) -> None:
    take_in(database, 1, 2, 3, source=Source.INBOX)
    take_in(database, 4, source=Source.WEB)
    take_in(database, 5, source=Source.INBOX)
    first, second = claimed(database, model_id), claimed(database, model_id)
    assert [job.radiograph_id for job in first.jobs] == [4]
    assert first.priority > second.priority
    assert [job.id for job in second.jobs] == sorted(job.id for job in second.jobs)
    assert len(second.jobs) == 4
    assert claim(database, model_id) is None


def test_a_claim_takes_no_more_than_its_limit(database: Database, model_id: int) -> None:
    take_in(database, *range(5))
    sizes = [len(claimed(database, model_id, limit=2).jobs) for _ in range(3)]
    assert sizes == [2, 2, 1]


def test_a_claim_holds_one_model_and_only_one_that_is_installed(database: Database, model_id: int) -> None:
    second, third = add_model(database, "second"), add_model(database, "third")
    take_in(database, 1, 2)
    found = [claimed(database, second, model_id) for _ in range(2)]
    assert {taken.model_version_id for taken in found} == {second, model_id}
    assert [len(taken.jobs) for taken in found] == [2, 2]
    assert claim(database, second, model_id) is None
    assert claim(database) is None
    assert len(claimed(database, third).jobs) == 2


def test_a_claim_says_what_a_worker_needs(database: Database, model_id: int) -> None:
    (arrival,) = take_in(database, 1).arrivals
    taken = claimed(database, model_id)
    (job,) = taken.jobs
    assert (job.radiograph_id, job.frame, job.attempts) == (arrival.radiograph_ids[0], 0, 1)
    assert job.storage_key.count("/") == 1
    assert 0 <= job.waited_ms < 60_000
    assert not taken.alone


def test_the_attempt_is_counted_and_the_lease_is_written_before_any_work(database: Database, model_id: int) -> None:
    take_in(database, 1)
    taken = claimed(database, model_id, lease=30, worker="w@here:7")
    (job,) = jobs_of(database)
    assert (job.status, job.attempts, job.worker) == (JobStatus.RUNNING, 1, "w@here:7")
    assert job.lease_token == taken.token
    assert job.lease_until is not None
    assert job.started_at is not None
    assert job.lease_until - job.started_at == timedelta(seconds=30)


def test_two_claims_never_share_a_token(database: Database, model_id: int) -> None:
    take_in(database, *range(6))
    assert len({claimed(database, model_id, limit=1).token for _ in range(6)}) == 6


def test_claims_at_the_same_moment_share_no_job(database: Database, model_id: int) -> None:
    take_in(database, *range(60))
    start = threading.Barrier(4)
    taken: list[int] = []

    def work() -> None:
        start.wait()
        while got := claim(database, model_id, limit=4):
            taken.extend(job.id for job in got.jobs)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert sorted(taken) == [job.id for job in jobs_of(database)]


def test_work_that_pauses_is_not_claimed_before_its_time(database: Database, model_id: int) -> None:
    take_in(database, 1)
    with database.transaction() as session:
        session.execute(update(JobRow).values(available_at=now(session) + timedelta(minutes=1)))
    assert claim(database, model_id) is None
    let_pauses_end(database)
    assert claim(database, model_id) is not None


# What comes of it


def test_answers_statuses_and_the_release_come_together(database: Database, model_id: int) -> None:
    take_in(database, 1, 2)
    taken = claimed(database, model_id)
    assert len(store(database, taken, answered(taken))) == 2
    for job in jobs_of(database):
        assert (job.status, job.lease_token, job.lease_until) == (JobStatus.DONE, None, None)
        assert job.finished_at is not None
    with database.reading() as session:
        sums = session.execute(
            select(func.count(), func.sum(ScoreRow.probability)).group_by(ScoreRow.prediction_id)
        ).all()
        prediction = session.scalars(select(PredictionRow)).first()
        assert prediction is not None
        assert (prediction.label, prediction.engine, prediction.decode_ms) == ("spiral", "fake 1", 1)
    assert [(count, round(total, 9)) for count, total in sums] == [(len(LABELS), 1.0)] * 2
    assert event_kinds(database).count("done") == 2


def test_each_score_belongs_to_its_own_radiograph(database: Database, model_id: int) -> None:
    take_in(database, 1, 2, 3)
    taken = claimed(database, model_id)
    labels = dict(zip((job.radiograph_id for job in taken.jobs), LABELS, strict=True))
    store(database, taken, [Outcome(job=job, answer=some_answer(labels[job.radiograph_id])) for job in taken.jobs])
    with database.reading() as session:
        rows = session.execute(
            select(PredictionRow.radiograph_id, PredictionRow.label, ScoreRow.label)
            .join(ScoreRow, ScoreRow.prediction_id == PredictionRow.id)
            .where(ScoreRow.probability > 0.5)
        ).all()
    assert {row[0]: (row[1], row[2]) for row in rows} == {key: (label, label) for key, label in labels.items()}


def test_nothing_is_stored_when_a_part_of_it_cannot_be(database: Database, model_id: int) -> None:
    take_in(database, 1, 2)
    taken = claimed(database, model_id)
    with pytest.raises(IntegrityError), database.transaction() as session:
        store_outcomes(session, taken, answered(taken), "w@test:1")
        session.execute(text("INSERT INTO scores (prediction_id, label, probability) VALUES (999999, 'x', 1)"))
    assert {job.status for job in jobs_of(database)} == {JobStatus.RUNNING}
    assert predictions(database) == 0
    assert len(store(database, taken, answered(taken))) == 2


def test_a_second_prediction_of_the_same_model_is_impossible(database: Database, model_id: int) -> None:
    take_in(database, 1)
    taken = claimed(database, model_id)
    store(database, taken, answered(taken))
    with database.transaction() as session:
        session.execute(update(JobRow).values(status=JobStatus.WAITING))
    again = claimed(database, model_id)
    with pytest.raises(IntegrityError):
        store(database, again, answered(again))
    assert predictions(database) == 1


def test_a_failure_ends_one_job_with_code_and_words_and_leaves_its_mates(database: Database, model_id: int) -> None:
    take_in(database, 1, 2)
    taken = claimed(database, model_id)
    bad, good = taken.jobs
    outcomes = [Outcome(job=bad, failure=("unreadable", "It is cut off.")), Outcome(job=good, answer=some_answer())]
    store(database, taken, outcomes)
    first, second = jobs_of(database)
    assert (first.status, first.error_code, first.error_words) == (JobStatus.FAILED, "unreadable", "It is cut off.")
    assert (second.status, second.error_code) == (JobStatus.DONE, None)
    with database.reading() as session:
        (last,) = [event for event in events_of(session, bad.radiograph_id) if event.kind == "failed"]
        assert last.detail == {"attempt": 1, "code": "unreadable", "words": "It is cut off."}


def test_a_passing_failure_waits_longer_each_time_and_ends_after_the_last_attempt(
    database: Database, model_id: int
) -> None:
    take_in(database, 1)
    pauses = []
    for attempt in range(1, MOST_ATTEMPTS + 1):
        let_pauses_end(database)
        taken = claimed(database, model_id)
        assert taken.jobs[0].attempts == attempt
        store(database, taken, [Outcome(job=taken.jobs[0], passing=("store-unavailable", "The store is away."))])
        (job,) = jobs_of(database)
        assert job.lease_token is None
        if job.status == JobStatus.WAITING:
            assert job.started_at is not None
            pauses.append((job.available_at - job.started_at).total_seconds())
    expected = [min(FIRST_PAUSE_SECONDS * 2**number, LONGEST_PAUSE_SECONDS) for number in range(MOST_ATTEMPTS - 1)]
    assert pauses == pytest.approx(expected, abs=2)
    assert (job.status, job.error_code, job.deaths) == (JobStatus.FAILED, "store-unavailable", 0)
    assert event_kinds(database) == ["received", *["postponed"] * (MOST_ATTEMPTS - 1), "failed"]


def test_an_answer_after_a_passing_failure_clears_the_error(database: Database, model_id: int) -> None:
    take_in(database, 1)
    taken = claimed(database, model_id)
    store(database, taken, [Outcome(job=taken.jobs[0], passing=("store-unavailable", "The store is away."))])
    let_pauses_end(database)
    taken = claimed(database, model_id)
    store(database, taken, answered(taken))
    (job,) = jobs_of(database)
    assert (job.status, job.error_code, job.error_words) == (JobStatus.DONE, None, None)


def test_a_polite_stop_gives_the_attempt_back(database: Database, model_id: int) -> None:
    take_in(database, 1, 2)
    taken = claimed(database, model_id)
    with database.transaction() as session:
        assert give_back(session, taken.token) == 2
    for job in jobs_of(database):
        assert (job.status, job.attempts, job.deaths, job.lease_token) == (JobStatus.WAITING, 0, 0, None)
    assert [job.attempts for job in claimed(database, model_id).jobs] == [1, 1]
