"""What people order: try again, take back, pause, resume, first come others."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from core import orders
from core.database import Database, now
from core.errors import BrokerUnavailable, NotFound
from core.records import controls
from core.records.claims import Outcome, store_outcomes
from core.records.failures import causes
from core.records.intake import record_intake
from core.records.jobs import take_unheard
from core.records.priorities import set_priority
from core.records.workers import Identity, beat, idle_workers
from core.tables import EventRow, JobRow, JobStatus, SubmissionRow
from tests.fakes import claimed, event_kinds, jobs_of, some_answer, take_in


def statuses(database: Database) -> list[JobStatus]:
    return [job.status for job in jobs_of(database)]


def events(database: Database, kind: str) -> list[tuple[str, dict[str, Any]]]:
    with database.reading() as session:
        rows = session.scalars(select(EventRow).where(EventRow.kind == kind).order_by(EventRow.id))
        return [(row.actor, row.detail) for row in rows]


def end(database: Database, *ends: str | None) -> None:
    """End what waits: None is an answer, `code!` pauses for a passing cause, another code fails."""
    with database.reading() as session:
        models = session.scalars(select(JobRow.model_version_id).distinct()).all()
    taken = claimed(database, *models, limit=len(ends))
    outcomes = []
    for job, code in zip(taken.jobs, ends, strict=True):
        words = (code.rstrip("!"), f"It says {code.rstrip('!')}.") if code else None
        passing = bool(code) and str(code).endswith("!")
        answer = None if code else some_answer()
        failure = None if passing else words
        outcomes.append(Outcome(job=job, answer=answer, failure=failure, passing=words if passing else None))
    with database.transaction() as session:
        store_outcomes(session, taken, outcomes, "worker@test:1")


def lengthen_pauses(database: Database) -> None:
    """What pauses would be due again while a slow machine is still at the test."""
    with database.transaction() as session:
        pausing = update(JobRow).where(JobRow.status == JobStatus.WAITING, JobRow.error_code > "")
        session.execute(pausing.values(available_at=now(session) + timedelta(hours=1)))


def test_one_cause_is_tried_again_and_the_others_stay_explained(database: Database, model_id: int) -> None:
    rung: list[int] = []
    take_in(database, *range(5))
    end(database, None, "unreadable", "store-unavailable", "store-unavailable!", "quarantined")
    lengthen_pauses(database)

    jobs = orders.retry(database, rung.append, actor="user:anna", code="store-unavailable")

    assert jobs == 2
    assert rung == [2]
    assert statuses(database) == ["done", "failed", "waiting", "waiting", "failed"]
    assert [job.error_code for job in jobs_of(database)] == [None, "unreadable", None, None, "quarantined"]
    assert claimed(database, model_id).jobs[1].attempts == 1  # what paused is tried at once, with a clean record
    assert [(actor, detail["was"]) for actor, detail in events(database, "retried")] == [
        ("user:anna", "failed"),
        ("user:anna", "waiting"),
    ]


def test_large_orders_are_carried_out_in_portions(
    database: Database, model_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.orders._PORTION", 3)
    rung: list[int] = []
    take_in(database, *range(8))

    assert orders.cancel(database, actor="user:anna") == 8
    assert set(statuses(database)) == {"cancelled"}
    assert orders.retry(database, rung.append, actor="user:anna") == 8
    assert rung == [8]
    assert set(statuses(database)) == {"waiting"}
    assert event_kinds(database).count("cancelled") == event_kinds(database).count("retried") == 8


def test_a_broker_that_is_away_keeps_nothing_from_being_tried_again(database: Database, model_id: int) -> None:
    def away(_jobs: int) -> None:
        raise BrokerUnavailable

    take_in(database, 1)
    end(database, "unreadable")
    assert orders.retry(database, away, actor="user:anna") == 1
    assert statuses(database) == ["waiting"]


def test_what_runs_is_not_cancelled_and_neither_is_what_another_submission_wants(
    database: Database, model_id: int
) -> None:
    first = take_in(database, 1, 2, 3).arrivals[0].submission_id
    taken = claimed(database, model_id, limit=1)
    take_in(database, 2)

    assert orders.cancel(database, actor="user:anna", submission=first) == 1
    assert statuses(database) == ["running", "cancelled", "waiting"]  # in the order of their contents' hashes
    assert orders.cancel(database, actor="user:anna", radiograph_ids=[1, 3]) == 1
    assert statuses(database) == ["running", "cancelled", "cancelled"]
    with database.transaction() as session:
        outcomes = [Outcome(job=job, answer=some_answer(), engine="fake") for job in taken.jobs]
        assert len(store_outcomes(session, taken, outcomes, "worker@test:1")) == 1
    with pytest.raises(NotFound):
        orders.cancel(database, actor="user:anna", submission=99)


def test_what_waits_to_be_tried_again_is_cancelled_by_its_cause(database: Database, model_id: int) -> None:
    take_in(database, *range(4))
    end(database, "unreadable", "store-unavailable!", "too-large!")
    lengthen_pauses(database)
    assert statuses(database) == ["failed", "waiting", "waiting", "waiting"]

    assert orders.cancel(database, actor="user:anna", code="store-unavailable") == 1
    assert statuses(database) == ["failed", "cancelled", "waiting", "waiting"]
    assert orders.cancel(database, actor="user:anna", failed=True) == 1
    assert statuses(database) == ["failed", "cancelled", "cancelled", "waiting"]  # the last was never tried


def test_the_priority_of_a_submission_decides_who_is_next(database: Database, model_id: int) -> None:
    take_in(database, 1, 2)
    urgent = take_in(database, 3, 2).arrivals[0].submission_id
    with database.transaction() as session:
        assert set_priority(session, urgent, 50, actor="user:anna") == 2
    assert [job.priority for job in jobs_of(database)] == [0, 50, 50]
    assert [job.radiograph_id for job in claimed(database, model_id, limit=1).jobs] == [2]
    with database.transaction() as session:  # lowered again: radiograph 3 alone, 2 runs
        assert set_priority(session, urgent, -5, actor="user:anna") == 1
    assert [job.priority for job in jobs_of(database)] == [0, 50, -5]
    assert events(database, "priority")[0] == (
        "user:anna",
        {"submission": urgent, "was": 0, "priority": 50, "jobs": 2},
    )
    with database.transaction() as session, pytest.raises(NotFound):
        set_priority(session, 99, 1, actor="user:anna")


def test_later_parts_of_a_submission_have_its_priority(database: Database, model_id: int) -> None:
    from dataclasses import replace

    from core.records.intake import Examined, Submission
    from core.tables import Source

    first = take_in(database, 1).arrivals[0].submission_id
    with database.transaction() as session:
        set_priority(session, first, 7, actor="user:anna")
        bad = Examined(name="2.png", bytes=1, sha256=None)
        record_intake(session, replace(Submission(source=Source.INBOX), continues=first), [bad])
        assert session.get_one(SubmissionRow, first).priority == 7


def test_pauses_hold_for_all_or_for_one_machine_until_they_are_resumed(database: Database, model_id: int) -> None:
    take_in(database, 1)
    with database.transaction() as session:
        for host in ("a", "b"):
            beat(session, Identity("worker", host, 1), engine="fake")

    def idle() -> list[str]:
        with database.reading() as session:
            assert [controls.worker_is_paused(session, host) for host in "ab"] == [
                f"worker@{host}:1" not in idle_workers(session, within_seconds=60) for host in "ab"
            ]
            return [name[7] for name in idle_workers(session, within_seconds=60)]

    rung: list[int] = []
    assert idle() == ["a", "b"]
    assert orders.pause(database, "workers", actor="user:anna", host="a", note="new disk")
    assert not orders.pause(database, "workers", actor="user:ben", host="a")
    assert idle() == ["b"]
    assert orders.pause(database, "workers", actor="user:anna")
    assert idle() == []
    with database.reading() as session:
        words = [each.words() for each in controls.pauses(session)]
    assert words[0].startswith("The workers of a are paused since 20")
    assert words[0].endswith("by user:anna: new disk.")
    assert orders.resume(database, rung.append, "workers", actor="user:anna")
    assert idle() == ["a", "b"]
    assert rung == [1]
    assert not orders.resume(database, rung.append, "workers", actor="user:anna")
    assert [detail["host"] for _, detail in events(database, "paused")] == ["a", None]
    assert len(events(database, "resumed")) == 1


def test_a_machine_that_nobody_knows_is_not_paused(database: Database) -> None:
    with pytest.raises(NotFound, match="machine 'a' is known; no worker has been heard of lately"):
        orders.pause(database, "workers", actor="user:anna", host="a")
    with database.transaction() as session:
        beat(session, Identity("worker", "ward-7", 1), engine="fake")
        beat(session, Identity("inbox", "ward-8", 1), engine="")
    with pytest.raises(NotFound, match=r"machine 'ward-8' is known; known: ward-7\. Nothing was paused\."):
        orders.pause(database, "workers", actor="user:anna", host="ward-8")
    with database.reading() as session:
        assert controls.pauses(session) == ()
    assert events(database, "paused") == []
    assert orders.pause(database, "workers", actor="user:anna", host="ward-7")


def test_causes_are_grouped_with_counts_and_examples(database: Database, model_id: int) -> None:
    with database.reading() as session:
        assert causes(session) == ()
    take_in(database, *range(7))
    end(database, None, "unreadable", "unreadable", "unreadable", "store-unavailable!", "store-unavailable", None)
    lengthen_pauses(database)
    with database.reading() as session:
        first, second = causes(session)
        assert second.next_try is not None
        assert second.next_try > now(session)
    assert (first.code, first.failed, first.pausing, first.passing) == ("unreadable", 3, 0, False)
    assert (first.words, sorted(first.examples), first.next_try) == ("It says unreadable.", [2, 3, 4], None)
    assert (second.code, second.failed, second.pausing, second.passing) == ("store-unavailable", 1, 1, True)


def test_counts_of_a_frequent_cause_stop_somewhere(
    database: Database, model_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.records.failures.MOST_COUNTED", 2)
    take_in(database, *range(4))
    end(database, *["unreadable"] * 4)
    with database.reading() as session:
        [cause] = causes(session)
    assert cause.failed == 2


def test_what_pauses_for_a_passing_cause_is_tried_again_by_itself(database: Database, model_id: int) -> None:
    take_in(database, 1)
    pauses = []
    for _ in range(3):
        end(database, "store-unavailable!")
        with database.transaction() as session:
            [job] = jobs_of(database)
            told = select(EventRow.at).where(EventRow.kind == "postponed").order_by(EventRow.id.desc()).limit(1)
            pauses.append((job.available_at - session.scalars(told).one()).total_seconds())
            assert take_unheard(session, 0) == 0
            session.execute(update(JobRow).values(available_at=now(session) - timedelta(seconds=1)))
    assert pauses == [5, 10, 20]
    with database.transaction() as session:
        assert take_unheard(session, 0) == 1  # and is announced
