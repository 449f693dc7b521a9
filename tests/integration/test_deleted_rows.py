"""Somebody deletes radiographs with their jobs in SQL: announced ones are not missed, those in hand leave no trace."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from core.tables import ArrivalRadiographRow, JobRow, JobStatus, PredictionRow, RadiographRow
from tests.conftest import wait_until
from tests.fakes import black_png
from tests.integration.parts import PATIENCE, Installation

#: Each takes a tenth of a second or so: some are in hand for a while.
PICTURES = 20


def test_radiographs_that_are_deleted_while_announced_or_in_hand_hurt_no_others(installation: Installation) -> None:
    # given: work that is announced, and some of it is deleted before anybody comes
    installation.take_in(*(black_png(3000 + number, 3000) for number in range(PICTURES)))
    gone = delete_some(installation, JobStatus.WAITING, 3)
    assert len(gone) == 3
    # when: a worker comes, and some of what it has in hand is deleted
    installation.start("beat")
    worker = installation.start_worker()

    def deleted() -> bool:
        gone.extend(delete_some(installation, JobStatus.RUNNING, 2))
        return len(gone) >= 5

    wait_until(deleted, within_seconds=PATIENCE, what="some work is in hand and deleted")
    # then: all others are answered, once, and nobody took harm
    installation.wait_for(done=PICTURES - len(gone))
    assert installation.events("returned") == 0
    assert worker.poll() is None
    assert "Traceback" not in installation.log("worker")
    with installation.database.reading() as session:
        assert predictions_of(session, gone) == 0


def delete_some(installation: Installation, status: JobStatus, count: int) -> list[int]:
    """Delete so many radiographs whose job is in this state, or none where there are fewer; return which."""
    with installation.database.transaction() as session:
        query = select(JobRow.radiograph_id).where(JobRow.status == status).order_by(JobRow.id).limit(count)
        chosen = list(session.scalars(query.with_for_update()))
        if len(chosen) < count:
            return []
        for column in (JobRow.radiograph_id, ArrivalRadiographRow.radiograph_id, RadiographRow.id):
            session.execute(delete(column.class_).where(column.in_(chosen)))
    return chosen


def predictions_of(session: Session, radiograph_ids: Sequence[int]) -> int:
    query = select(func.count()).select_from(PredictionRow).where(PredictionRow.radiograph_id.in_(radiograph_ids))
    return session.scalars(query).one()
