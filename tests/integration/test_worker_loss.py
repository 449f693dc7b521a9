"""Processes that are killed while they have work in hand: everything is done in the end, and nothing twice."""

import signal
import sqlite3
import subprocess
from contextlib import closing
from functools import partial

import pytest
from sqlalchemy import select

from core.database import sqlite_file
from core.errors import DatabaseUnavailable
from core.records.evidence import STAGES
from core.tables import JobRow, JobStatus
from tests.conftest import wait_until
from tests.fakes import black_png
from tests.integration.parts import PATIENCE, Installation, children_of, is_alive, kill
from worker.notes import read_note

#: Pictures that take some tenths of a second each, so that a kill hits work in hand.
PICTURES = 40


@pytest.fixture
def busy(installation: Installation) -> Installation:
    installation.start("beat")
    return installation


def test_a_process_that_is_killed_with_work_in_hand_costs_nothing(busy: Installation) -> None:
    worker = busy.start_worker()
    busy.take_in(*(black_png(3000 + number, 3000) for number in range(PICTURES)))
    for _ in range(2):
        kill([busy.holder()])
    busy.wait_for(done=PICTURES)
    assert busy.events("returned") > 0
    assert busy.events("quarantined") == 0
    assert worker.poll() is None


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_worker_that_is_killed_whole_leaves_no_process_and_its_work_to_the_next(busy: Installation) -> None:
    worker = busy.start_worker()
    busy.take_in(*(black_png(3000 + number, 3000) for number in range(PICTURES)))
    busy.holder()
    family = children_of(worker.pid)
    assert len(family) >= 2
    kill([worker.pid])
    worker.wait(timeout=PATIENCE)
    wait_until(lambda: not any(map(is_alive, family)), within_seconds=PATIENCE, what="its processes have ended")
    busy.start_worker()
    busy.wait_for(done=PICTURES)
    assert busy.events("returned") > 0
    assert busy.events("quarantined") == 0


def hands_of(worker: subprocess.Popen[bytes], busy: Installation) -> set[int]:
    """The processes of a worker that have work in hand."""
    with busy.database.reading() as session:
        names = session.scalars(select(JobRow.worker).where(JobRow.status == JobStatus.RUNNING).distinct()).all()
    return {int(name.rpartition(":")[2]) for name in names if name} & set(children_of(worker.pid))


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_peer_that_runs_already_goes_on_with_what_a_killed_worker_held(busy: Installation) -> None:
    worker, peer = busy.start_worker(), busy.start_worker()
    busy.take_in(*(black_png(3000 + number, 3000) for number in range(PICTURES)))
    wait_until(lambda: bool(hands_of(worker, busy)), within_seconds=PATIENCE, what="the first one has work in hand")
    kill([worker.pid])
    worker.wait(timeout=PATIENCE)
    # then: when the lease has run out and the reconciler has come by, ten seconds are for a busy machine
    within = busy.settings.lease_seconds + 2 * busy.settings.reconcile_seconds + 10
    wait_until(lambda: busy.events("returned") > 0, within_seconds=within, what="its jobs are returned")
    busy.wait_for(done=PICTURES)
    assert busy.events("quarantined") == 0
    assert peer.poll() is None


def pause_holder(busy: Installation) -> int:
    """Stop a process that has work in hand, but not while it writes: that would keep all others from writing."""
    paused: list[int] = []

    def stopped_between_writes() -> bool:
        pid = busy.holder()
        kill([pid], signal.SIGSTOP)
        if others_can_write(busy):
            paused.append(pid)
            return True
        kill([pid], signal.SIGCONT)
        return False

    wait_until(stopped_between_writes, within_seconds=PATIENCE, what="a process is stopped between two writes")
    return paused[0]


def others_can_write(busy: Installation) -> bool:
    try:
        if (file := sqlite_file(busy.database.url)) is not None:
            with closing(sqlite3.connect(file, timeout=2, isolation_level=None)) as connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("ROLLBACK")
        else:
            in_hand = select(JobRow.id).where(JobRow.status == JobStatus.RUNNING).with_for_update(nowait=True)
            with busy.database.transaction() as session:
                session.execute(in_hand)
    except (sqlite3.OperationalError, DatabaseUnavailable):
        return False
    return True


def test_a_process_that_is_paused_past_its_lease_changes_nothing_when_it_comes_back(busy: Installation) -> None:
    busy.start_worker()
    busy.take_in(*(black_png(3000 + number, 3000) for number in range(PICTURES)))
    paused = pause_holder(busy)
    try:
        wait_until(lambda: busy.events("returned") > 0, within_seconds=PATIENCE, what="its jobs are returned")
    finally:
        kill([paused], signal.SIGCONT)
    busy.wait_for(done=PICTURES)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("whole", [False, True], ids=["its process", "the whole worker"])
def test_an_image_that_always_kills_is_set_aside_and_its_mates_are_done(whole: bool, busy: Installation) -> None:
    # given: one of twelve radiographs whose classification takes long and always ends in a kill
    pictures = [black_png(7000 if number == 5 else 1000 + number, 7000) for number in range(12)]
    poison = busy.take_in(*pictures).arrivals[5].radiograph_ids[0]
    worker = busy.start_worker()
    deaths = 0

    def has_died(times: int) -> bool:
        return busy.events("returned", poison) + busy.events("quarantined", poison) >= times

    def is_worked_on_or_ended() -> bool:
        """A death before that, while the network is loaded, would be held against no job."""
        status = busy.status_of(poison)
        if status != JobStatus.RUNNING:
            return status != JobStatus.WAITING
        note = read_note(busy.settings.runtime, busy.holder_of(poison))
        return note is not None and note.stage in STAGES[1:]

    # when
    while True:
        wait_until(is_worked_on_or_ended, within_seconds=PATIENCE, what="the poison is in hand")
        if busy.status_of(poison) != JobStatus.RUNNING:
            break
        kill([worker.pid if whole else busy.holder_of(poison)])
        deaths += 1
        if whole:
            worker.wait(timeout=PATIENCE)
            worker = busy.start_worker()
        wait_until(partial(has_died, deaths), within_seconds=PATIENCE, what="the death is counted")
    # then
    assert deaths == 3
    assert busy.status_of(poison) == JobStatus.QUARANTINED
    wait_until(lambda: busy.count(JobStatus.DONE) == 11, within_seconds=PATIENCE, what="the others are done")
    assert busy.count(*JobStatus) == 12
