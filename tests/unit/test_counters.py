"""The kept counts equal the counted truth, whatever writes, and whoever writes beside it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from sqlalchemy import delete, event, func, select, update

from benchmarks.many_rows import fill
from core.database import Database
from core.records.counters import fold, job_counts, rejected_arrivals
from core.records.figures import queue_figures
from core.settings import Settings
from core.tables import ArrivalRow, ArrivalStatus, CounterRow, JobRow, JobStatus, PredictionRow, ScoreRow

_COUNT = 200


def _truth(database: Database) -> tuple[dict[JobStatus, int], int]:
    with database.reading() as session:
        rows = session.execute(select(JobRow.status, func.count()).group_by(JobRow.status)).all()
        rejected = session.scalars(
            select(func.count()).select_from(ArrivalRow).where(ArrivalRow.status == ArrivalStatus.REJECTED)
        ).one()
        return dict.fromkeys(JobStatus, 0) | dict(rows), rejected


def _kept(database: Database) -> tuple[dict[JobStatus, int], int]:
    with database.reading() as session:
        return job_counts(session), rejected_arrivals(session)


def _change(database: Database, seed: int) -> None:
    """Forty changes of status, some of them of many rows, some of none, some rolled back."""
    generator = np.random.default_rng(seed)
    statuses = list(JobStatus)
    for _ in range(40):
        first, last = sorted(int(number) for number in generator.integers(1, _COUNT, 2))
        status = statuses[int(generator.integers(len(statuses)))]
        try:
            with database.transaction() as session:
                # In the order of their ids, as the program's own writers do, so that two writers cannot deadlock.
                wanted = select(JobRow.id).where(JobRow.id.between(first, last)).order_by(JobRow.id).with_for_update()
                ids = session.scalars(wanted).all()
                session.execute(update(JobRow).where(JobRow.id.in_(ids)).values(status=status))
                if generator.random() < 0.2:
                    raise _Rollback
                if generator.random() < 0.1:
                    fold(session)
        except _Rollback:
            continue


class _Rollback(Exception):
    pass


def test_counts_are_kept_through_every_kind_of_change(database: Database) -> None:
    fill(database, _COUNT)
    assert _kept(database) == _truth(database)
    assert sum(_truth(database)[0].values()) == _COUNT
    with database.transaction() as session:
        session.execute(update(ArrivalRow).where(ArrivalRow.id <= 3).values(status=ArrivalStatus.REJECTED))
        session.execute(delete(ScoreRow).where(ScoreRow.prediction_id <= 20))
        session.execute(delete(PredictionRow).where(PredictionRow.id <= 20))
        session.execute(delete(JobRow).where(JobRow.id <= 20))
    assert _kept(database) == _truth(database)
    assert _kept(database)[1] == 3


def test_counts_are_kept_while_four_write_and_add_up(database: Database) -> None:
    fill(database, _COUNT)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda seed: _change(database, seed), range(4)))
    truth = _truth(database)
    assert len([count for count in truth[0].values() if count]) > 2
    assert _kept(database) == truth
    with database.transaction() as session:
        fold(session)
    assert _kept(database) == truth
    with database.reading() as session:
        assert session.scalars(select(func.count()).select_from(CounterRow)).one() < 100


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_writers_do_not_wait_for_each_others_counts(database: Database) -> None:
    fill(database, 2)
    with database.transaction() as first, database.transaction() as second:
        first.execute(update(JobRow).where(JobRow.id == 1).values(status=JobStatus.FAILED))
        second.connection().exec_driver_sql("SET LOCAL lock_timeout = '2s'")
        second.execute(update(JobRow).where(JobRow.id == 2).values(status=JobStatus.FAILED))
        fold(second)
    assert _kept(database) == _truth(database)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_queue_figures_read_no_more_than_they_count(database: Database) -> None:
    fill(database, _COUNT)
    with database.transaction() as session:
        session.execute(update(JobRow).where(JobRow.id <= 5).values(status=JobStatus.WAITING))
    statements: list[tuple[str, Any]] = []
    with database.reading() as session:
        engine = session.get_bind()
        event.listen(engine, "before_cursor_execute", lambda *each: statements.append((each[2], each[3])))
        queue_figures(session, Settings())
        asked = [each for each in statements if "FROM jobs" in each[0]]
        plans = [
            str(session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all())
            for statement, parameters in asked
        ]
    assert len(plans) > 8
    assert not any("FOR ORDER BY" in plan for plan in plans), plans
    assert all("SEARCH" in plan or "ix_jobs_waiting" in plan for plan in plans), plans
    assert all("ix_jobs_" in plan and "SCAN jobs'" not in plan for plan in plans), plans
