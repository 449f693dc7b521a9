"""Several processes that claim as fast as they can, on each database."""

import multiprocessing
import time

import pytest
from sqlalchemy import func, select

from core.database import Database
from core.records.claims import Outcome, claim_waiting, store_outcomes
from core.tables import JobRow, JobStatus, PredictionRow, ScoreRow
from tests.fakes import LABELS, event_kinds, some_answer, take_in

JOBS = 2000


def work_until_empty(url: str, model_id: int, number: int) -> list[int]:
    """One worker without a network: claim, answer, claim again; return every job that it was given."""
    database, who = Database(url), f"stress@test:{number}"
    given: list[int] = []
    while True:
        with database.transaction() as session:
            taken = claim_waiting(session, model_version_ids=[model_id], limit=8, lease_seconds=60, worker=who)
        if taken is None:
            database.dispose()
            return given
        given += [job.id for job in taken.jobs]
        with database.transaction() as session:
            outcomes = [Outcome(job=job, answer=some_answer(), engine="stress") for job in taken.jobs]
            counted = store_outcomes(session, taken, outcomes, who)
        assert len(counted) == len(taken.jobs)


def test_no_job_is_ever_claimed_twice(database: Database, model_id: int) -> None:
    processes = 4 if database.is_sqlite else 3
    for start in range(0, JOBS, 500):
        take_in(database, *range(start, start + 500))
    url = database.url.render_as_string(hide_password=False)
    began = time.monotonic()
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        given = pool.starmap(work_until_empty, [(url, model_id, number) for number in range(processes)], chunksize=1)
        pool.close()
        pool.join()
    print(f"{JOBS / (time.monotonic() - began):.0f} jobs/s with {processes} processes")  # noqa: T201 - shown with -s
    claimed = [job for jobs in given for job in jobs]
    assert len(claimed) == JOBS
    assert len(set(claimed)) == JOBS
    assert sum(1 for jobs in given if jobs) >= 2, "only one process worked"
    with database.reading() as session:
        assert session.scalar(select(func.count()).where(JobRow.status == JobStatus.DONE)) == JOBS
        assert session.scalar(select(func.count()).where(JobRow.attempts == 1)) == JOBS
        assert session.scalar(select(func.count()).select_from(PredictionRow)) == JOBS
        assert session.scalar(select(func.count()).select_from(ScoreRow)) == JOBS * len(LABELS)
        totals = select(func.sum(ScoreRow.probability).label("total")).group_by(ScoreRow.prediction_id).subquery()
        low, high = session.execute(select(func.min(totals.c.total), func.max(totals.c.total))).one()
    assert (low, high) == pytest.approx((1, 1), abs=1e-9)
    assert event_kinds(database).count("done") == JOBS
