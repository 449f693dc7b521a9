"""Leases that hold and run out, deaths that are counted, and what a person can do about them."""

from __future__ import annotations

import threading
from datetime import timedelta

from sqlalchemy import update

from core.database import Database
from core.records.claims import (
    Outcome,
    give_back,
    renew,
)
from core.records.deaths import DEATHS, DEATHS_ALONE, Verdict, return_expired
from core.records.events import events_of
from core.records.jobs import retry_jobs
from core.tables import JobRow, JobStatus
from tests.fakes import (
    answered,
    claim,
    claimed,
    die,
    event_kinds,
    jobs_of,
    let_leases_run_out,
    predictions,
    store,
    take_in,
)

# Leases


def test_a_renewed_lease_lasts_longer_and_says_how_many_jobs_it_holds(database: Database, model_id: int) -> None:
    take_in(database, 1, 2)
    taken = claimed(database, model_id, lease=1)
    before = [job.lease_until for job in jobs_of(database)]
    with database.transaction() as session:
        assert renew(session, taken.token, 100) == 2
        assert renew(session, "another token", 100) == 0
    after = [job.lease_until for job in jobs_of(database)]
    assert all(new > old + timedelta(seconds=90) for old, new in zip(before, after, strict=True) if new and old)
    store(database, taken, answered(taken))
    with database.transaction() as session:
        assert renew(session, taken.token, 100) == 0


def test_a_lease_that_holds_is_left_alone_and_one_that_ran_out_is_returned(database: Database, model_id: int) -> None:
    take_in(database, 1, 2)
    claimed(database, model_id, limit=1)
    with database.transaction() as session:
        assert return_expired(session, "reconciler") == {}
    assert list(die(database).values()) == [Verdict.RETURNED]
    first, second = jobs_of(database)
    assert (first.status, first.deaths, first.deaths_alone, first.attempts) == (JobStatus.WAITING, 1, 0, 1)
    assert (first.lease_token, first.lease_until, first.rung_at) == (None, None, None)
    assert (second.status, second.deaths) == (JobStatus.WAITING, 0)


def test_a_worker_that_comes_back_late_changes_nothing(database: Database, model_id: int) -> None:
    # given: a worker was cut off, its job was returned and another worker has it
    take_in(database, 1)
    late = claimed(database, model_id, worker="late@test:1")
    die(database)
    current = claimed(database, model_id, worker="current@test:2")
    before = jobs_of(database)[0].lease_until
    # when: the first one goes on as if nothing had happened
    with database.transaction() as session:
        assert renew(session, late.token, 1000) == 0
        assert give_back(session, late.token) == 0
    assert store(database, late, answered(late)) == []
    assert store(database, late, [Outcome(job=late.jobs[0], failure=("x", "y"))]) == []
    assert store(database, late, [Outcome(job=late.jobs[0], passing=("x", "y"))]) == []
    # then
    (job,) = jobs_of(database)
    assert (job.status, job.worker, job.attempts, job.lease_until) == (JobStatus.RUNNING, "current@test:2", 2, before)
    assert predictions(database) == 0
    assert len(store(database, current, answered(current))) == 1
    assert store(database, late, answered(late)) == []
    assert predictions(database) == 1
    assert event_kinds(database) == ["received", "returned", "done"]


def test_of_a_claim_that_was_lost_in_part_the_rest_counts(database: Database, model_id: int) -> None:
    take_in(database, 1, 2)
    taken = claimed(database, model_id)
    with database.transaction() as session:
        session.execute(
            update(JobRow).where(JobRow.id == taken.jobs[0].id).values(lease_token=None, status=JobStatus.WAITING)
        )
    counted = store(database, taken, answered(taken))
    assert [outcome.job.id for outcome in counted] == [taken.jobs[1].id]
    assert predictions(database) == 1


# Deaths


def test_a_job_with_a_death_behind_it_is_claimed_alone(database: Database, model_id: int) -> None:
    take_in(database, 1, 2, 3)
    claimed(database, model_id, limit=2)
    die(database)
    sizes = []
    while taken := claim(database, model_id):
        sizes.append((len(taken.jobs), taken.alone))
    assert sizes == [(1, True), (1, True), (1, False)]


def test_suspects_are_never_mates_of_the_innocent(database: Database, model_id: int) -> None:
    take_in(database, *range(6))
    with database.transaction() as session:
        session.execute(update(JobRow).where(JobRow.id.in_([2, 5])).values(deaths=1))
    batches = []
    while taken := claim(database, model_id, limit=3):
        batches.append([job.id for job in taken.jobs])
    assert batches == [[1, 3, 4], [2], [5], [6]]


def test_three_deaths_two_of_them_alone_are_the_end_with_the_evidence(database: Database, model_id: int) -> None:
    take_in(database, 1)
    verdicts: list[Verdict] = []
    for number in range(DEATHS):
        claimed(database, model_id, worker=f"w@test:{number}")
        verdicts += die(database).values()
    assert verdicts == [Verdict.RETURNED, Verdict.RETURNED, Verdict.QUARANTINED]
    (job,) = jobs_of(database)
    assert (job.status, job.deaths, job.deaths_alone) == (JobStatus.QUARANTINED, DEATHS, DEATHS_ALONE)
    assert job.error_code == "quarantined"
    assert "died 3 times" in (job.error_words or "")
    assert "w@test:2" in (job.error_words or "")
    assert job.finished_at is not None
    with database.reading() as session:
        evidence = events_of(session, job.radiograph_id)[-1]
        assert evidence.kind == "quarantined"
        assert evidence.detail["worker"] == "w@test:2"
        assert (evidence.detail["attempt"], evidence.detail["deaths"]) == (3, 3)
    assert claim(database, model_id) is None


def test_batch_mates_of_a_poison_image_are_never_quarantined(database: Database, model_id: int) -> None:
    # given: eight jobs, one of which kills every worker that touches it
    take_in(database, *range(8))
    poison = 5
    # when: workers come and go until nothing waits
    for _ in range(50):
        taken = claim(database, model_id)
        if taken is None:
            break
        if poison in [job.id for job in taken.jobs]:
            die(database)
        else:
            store(database, taken, answered(taken))
    # then
    jobs = jobs_of(database)
    assert [job.id for job in jobs if job.status == JobStatus.QUARANTINED] == [poison]
    assert {job.status for job in jobs if job.id != poison} == {JobStatus.DONE}
    assert max(job.deaths for job in jobs if job.id != poison) == 1
    assert jobs[poison - 1].attempts == 3


def test_deaths_in_company_alone_never_quarantine(database: Database, model_id: int) -> None:
    take_in(database, 1)
    with database.transaction() as session:
        session.execute(update(JobRow).values(deaths=7))
    claimed(database, model_id)
    assert list(die(database).values()) == [Verdict.RETURNED]
    claimed(database, model_id)
    assert list(die(database).values()) == [Verdict.QUARANTINED]


def test_two_reconcilers_at_once_count_a_death_once(database: Database, model_id: int) -> None:
    take_in(database, *range(20))
    claimed(database, model_id, limit=20)
    let_leases_run_out(database)
    start, found = threading.Barrier(3), []

    def look() -> None:
        start.wait()
        with database.transaction() as session:
            found.append(len(return_expired(session, "reconciler")))

    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert sum(found) == 20
    assert {job.deaths for job in jobs_of(database)} == {1}


# What a person can do


def test_a_quarantined_job_can_be_sent_back_with_a_clean_record(database: Database, model_id: int) -> None:
    take_in(database, 1, 2)
    for _ in range(DEATHS):
        claimed(database, model_id, limit=1)
        die(database)
    with database.transaction() as session:
        assert retry_jobs(session, actor="command:test", code="another") == []
        assert retry_jobs(session, actor="command:test", radiograph_ids=[2]) == []
        assert retry_jobs(session, actor="command:test", radiograph_ids=[1], code="quarantined") == [1]
    first = jobs_of(database)[0]
    assert (first.status, first.attempts, first.deaths, first.deaths_alone) == (JobStatus.WAITING, 0, 0, 0)
    assert (first.error_code, first.error_words, first.finished_at) == (None, None, None)
    taken = claimed(database, model_id)
    assert (len(taken.jobs), taken.alone) == (2, False)
    assert event_kinds(database, 1)[-2:] == ["quarantined", "retried"]


def test_work_in_hand_or_done_cannot_be_sent_back(database: Database, model_id: int) -> None:
    take_in(database, 1, 2)
    taken = claimed(database, model_id, limit=1)
    store(database, taken, answered(taken))
    claimed(database, model_id)
    with database.transaction() as session:
        assert retry_jobs(session, actor="command:test") == []
