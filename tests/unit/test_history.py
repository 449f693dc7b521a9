"""What each minute brought, and how fast work goes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert, select, update

from core.database import Database, now
from core.records import history
from core.tables import JobRow, JobStatus, MinuteRow
from tests.fakes import jobs_of, take_in

AT = datetime(2026, 1, 31, 8, 0, 30, tzinfo=UTC)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[datetime], None]:
    """Set the time by which minutes are told."""

    def put(at: datetime) -> None:
        monkeypatch.setattr("core.records.history.now", lambda _: at)

    put(AT)
    return put


def end(database: Database, *ends: tuple[float, JobStatus]) -> None:
    """End the jobs that there are, so many seconds before `AT`; each waited 3 s and ran for 1."""
    with database.transaction() as session:
        for job, (seconds, status) in zip(jobs_of(database), ends, strict=True):
            at = AT - timedelta(seconds=seconds)
            times = {"created_at": at - timedelta(seconds=4), "started_at": at - timedelta(seconds=1)}
            session.execute(update(JobRow).where(JobRow.id == job.id).values(status=status, finished_at=at, **times))


def tick(database: Database) -> int:
    with database.transaction() as session:
        return history.record_minutes(session)


def minutes(database: Database) -> list[tuple[str, int, int, int | None]]:
    with database.reading() as session:
        rows = session.scalars(select(MinuteRow).order_by(MinuteRow.minute)).all()
        return [(f"{row.minute:%H:%M}", row.done, row.failed, row.waiting) for row in rows]


def test_a_minute_is_written_once_when_it_is_over(
    database: Database, model_id: int, clock: Callable[[datetime], None]
) -> None:
    take_in(database, *range(4))
    end(database, (40, JobStatus.DONE), (50, JobStatus.DONE), (60, JobStatus.FAILED), (5, JobStatus.DONE))

    assert [tick(database), tick(database)] == [1, 0]
    assert minutes(database) == [("07:59", 2, 1, 0)]
    clock(AT + timedelta(seconds=35))  # the minute is over, but a transaction may still bring something
    assert tick(database) == 0
    clock(AT + timedelta(seconds=41))
    assert tick(database) == 1
    assert minutes(database)[1] == ("08:00", 1, 0, 0)


def test_minutes_without_a_tick_are_made_up_for_and_old_ones_and_those_ahead_go(
    database: Database, model_id: int, clock: Callable[[datetime], None]
) -> None:
    take_in(database, 1)
    end(database, (150, JobStatus.DONE))
    long_ago = [AT.replace(second=0) - timedelta(days=8), AT.replace(second=0) - timedelta(minutes=5)]
    rows = [{"minute": at, "done": 9, "failed": 0, "waiting": 0} for at in (*long_ago, AT + timedelta(hours=1))]
    with database.transaction() as session:
        session.execute(insert(MinuteRow), rows)

    assert tick(database) == 4
    assert [(at, done) for at, done, _, _ in minutes(database)] == [
        ("07:55", 9),
        ("07:56", 0),
        ("07:57", 0),
        ("07:58", 1),
        ("07:59", 0),
    ]
    assert [waiting for *_, waiting in minutes(database)][1:] == [None, None, None, 0]


def test_rates_are_the_same_whether_minutes_were_written_or_not(database: Database, model_id: int) -> None:
    take_in(database, *range(6))
    end(database, *((seconds, JobStatus.DONE) for seconds in (1, 59, 61, 299, 301, 3599)))

    def rates() -> tuple[int, ...]:
        with database.reading() as session:
            found = history.rates(session, AT)
        return round(found.minute * 60), round(found.five_minutes * 300), round(found.hour * 3600)

    assert rates() == (2, 4, 6)
    rows = [{"minute": AT.replace(second=0) - timedelta(minutes=ago), "failed": 0, "done": 0} for ago in range(1, 61)]
    for row, count in ((rows[0], 2), (rows[4], 2)):  # 07:59:29 and :31, 07:55:29 and :31
        row["done"] = count
    with database.transaction() as session:
        session.execute(insert(MinuteRow), rows)
    assert rates()[2] == 6
    assert rates()[:2] == (2, 4)


def test_pace_is_taken_from_the_jobs_that_ended_last(database: Database, model_id: int) -> None:
    with database.reading() as session:
        assert history.pace(session, AT) == history.Pace()
    take_in(database, *range(5))
    end(database, *((seconds, JobStatus.DONE) for seconds in (0, 3, 6, 9, 1000)))
    with database.reading() as session:
        pace = history.pace(session, AT)
    assert pace.per_second == pytest.approx(4 / 10)
    assert pace.waited == history.Spread(p50=3, p95=3)
    assert pace.ran == history.Spread(p50=1, p95=1)


def test_the_last_hours_come_in_even_steps_and_say_when_nobody_looked(
    database: Database, clock: Callable[[datetime], None]
) -> None:
    rows = [
        {"minute": AT.replace(second=0) - timedelta(minutes=ago), "done": ago, "failed": 1, "waiting": 0}
        for ago in (1, 2, 7)
    ]
    with database.transaction() as session:
        session.execute(insert(MinuteRow), rows)
        bars = history.history(session, hours=1, minutes_a_bar=5)
    assert len(bars) == 12
    assert [(f"{bar.begin:%H:%M}", bar.done, bar.failed, bar.known) for bar in bars[-4:]] == [
        ("07:45", 0, 0, False),
        ("07:50", 7, 1, True),
        ("07:55", 3, 2, True),
        ("08:00", 0, 0, False),
    ]


def test_the_first_tick_of_an_installation_writes_one_minute(database: Database) -> None:
    assert [tick(database), tick(database)] == [1, 0]
    with database.reading() as session:
        assert session.scalars(select(MinuteRow.minute)).one() < now(session)
