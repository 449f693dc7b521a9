"""Radiographs that harm the process that classifies them: set aside with the evidence, and nobody else suffers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from core.tables import EventRow, JobRow, JobStatus
from tests.conftest import PROJECT, draw_radiograph, wait_until
from tests.fakes import black_png
from tests.integration.parts import PATIENCE, Installation, RedisServer, kill

BATCH = 16
#: Long enough for the worker's main process to see a death first, also on a machine that trains beside it: what the
#: reconciler finds when a lease has run out is less.
CALM = {"FRACTURE_LEASE_SECONDS": "60", "FRACTURE_HEARTBEAT_SECONDS": "1"}
HASTY = {"FRACTURE_LEASE_SECONDS": "2", "FRACTURE_HEARTBEAT_SECONDS": "0.5"}
#: A poison image needs three new processes, one after another.
LONG_PATIENCE = 2 * PATIENCE

Make = Callable[..., Installation]


@pytest.fixture
def make(tmp_path: Path, database_url: str, redis: RedisServer, shipped_models: Path) -> Iterator[Make]:
    """Make an installation in whose worker marked radiographs do harm."""
    made: list[Installation] = []

    def make(**changes: str) -> Installation:
        path = f"{PROJECT / 'tests' / 'integration' / 'poison'}:{PROJECT}"
        made.append(
            Installation(
                tmp_path / "home",
                database_url,
                redis,
                shipped_models,
                **{"PYTHONPATH": path, "FRACTURE_BATCH_SIZE": str(BATCH), **CALM, **changes},
            )
        )
        made[0].start("beat")
        return made[0]

    yield make
    for installation in made:
        installation.close()


def poison(harm: str, seed: int) -> bytes:
    return draw_radiograph(seed) + b"POISON " + harm.encode()


def job_of(installation: Installation, radiograph_id: int) -> JobRow:
    with installation.database.reading() as session:
        return session.scalars(select(JobRow).where(JobRow.radiograph_id == radiograph_id)).one()


def deaths_of(installation: Installation, radiograph_id: int) -> list[EventRow]:
    with installation.database.reading() as session:
        query = select(EventRow).where(
            EventRow.radiograph_id == radiograph_id, EventRow.kind.in_(["returned", "quarantined"])
        )
        return list(session.scalars(query.order_by(EventRow.id)))


@pytest.mark.parametrize("database_url", ["sqlite", pytest.param("postgresql", marks=pytest.mark.long)], indirect=True)
def test_a_poison_image_in_every_batch_is_set_aside_and_all_their_mates_are_done(make: Make) -> None:
    # given: three batches of sixteen, in each one image that ends its process in a way of its own
    installation = make(FRACTURE_BATCH_LIMIT_SECONDS="6")
    harms = {5: "crash in decode", 21: "crash in the engine", 37: "hang in decode"}
    contents = [poison(harms[n], n) if n in harms else draw_radiograph(n) for n in range(3 * BATCH)]
    arrivals = installation.take_in(*contents).arrivals
    ids = {harm: arrivals[number].radiograph_ids[0] for number, harm in harms.items()}
    # when
    worker = installation.start_worker()
    wait_until(
        lambda: installation.count(JobStatus.WAITING, JobStatus.RUNNING) == 0,
        within_seconds=LONG_PATIENCE,
        what="everything has ended",
    )
    # then: the poison is set aside after three deaths, two of them alone, and nothing else is
    assert worker.poll() is None
    assert installation.count(JobStatus.QUARANTINED) == len(harms)
    assert installation.count(JobStatus.DONE) == len(contents) - len(harms) == installation.events("done")
    expected = {
        "crash in decode": ("SIGSEGV", "decoding", None, "ended by SIGSEGV, while decoding"),
        "crash in the engine": ("SIGKILL", "inferring", None, "ended by SIGKILL, while inferring"),
        "hang in decode": ("SIGKILL", "decoding", 6, "killed for a batch that took longer than 6 s, while decoding"),
    }
    for harm, (signal_name, stage, limit, words) in expected.items():
        job, deaths = job_of(installation, ids[harm]), deaths_of(installation, ids[harm])
        assert (job.status, job.deaths, job.deaths_alone, job.attempts) == (JobStatus.QUARANTINED, 3, 2, 3)
        assert [death.kind for death in deaths] == ["returned", "returned", "quarantined"]
        for death in deaths[1:]:
            assert (death.detail["signal"], death.detail["stage"], death.detail["limit_seconds"]) == (
                signal_name,
                stage,
                limit,
            )
            assert death.detail["peak_memory_mib"] > 20
            assert death.detail["worker"].startswith("worker@")
            assert death.detail["in_hand"] is (True if stage == "decoding" else None)
        assert words in (job.error_words or "")
        assert job.worker is not None
        assert job.worker in (job.error_words or "")
    # and no mate was ever under suspicion twice
    with installation.database.reading() as session:
        mates = session.scalars(select(JobRow).where(JobRow.status == JobStatus.DONE)).all()
    assert max(mate.deaths_alone for mate in mates) == 0


def test_an_image_that_wants_too_much_memory_fails_by_itself(make: Make) -> None:
    installation = make(FRACTURE_MEMORY_LIMIT_MIB="512")
    hog = installation.take_in(
        *(draw_radiograph(n) for n in range(5)), poison("hog in decode", 5), *(draw_radiograph(n) for n in range(6, 16))
    ).arrivals[5]
    installation.start_worker()
    wait_until(lambda: installation.count(JobStatus.DONE) == 15, within_seconds=PATIENCE, what="the mates are done")
    job = job_of(installation, hog.radiograph_ids[0])
    assert (job.status, job.error_code, job.deaths) == (JobStatus.FAILED, "too-much-memory", 0)
    with installation.database.reading() as session:
        assert set(session.scalars(select(JobRow.deaths))) == {0}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_memory_of_a_killed_process_is_part_of_the_evidence(make: Make) -> None:
    installation = make()
    (arrival,) = installation.take_in(poison("grow and be killed in decode", 1)).arrivals
    installation.start_worker()
    number = arrival.radiograph_ids[0]
    wait_until(
        lambda: installation.status_of(number) == JobStatus.QUARANTINED,
        within_seconds=LONG_PATIENCE,
        what="it is set aside",
    )
    assert all(death.detail["peak_memory_mib"] > 256 for death in deaths_of(installation, number))
    assert "MiB of memory" in (job_of(installation, number).error_words or "")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_an_image_that_kills_the_whole_worker_is_set_aside_with_what_its_process_left(make: Make) -> None:
    # given: an image that kills its process's parent, and somebody who starts the worker again each time
    installation = make(FRACTURE_WORKER_PROCESSES="1", **HASTY)
    arrivals = installation.take_in(
        draw_radiograph(0), poison("kill the worker in decode", 1), draw_radiograph(2)
    ).arrivals
    number = arrivals[1].radiograph_ids[0]
    for _ in range(3):
        worker = installation.start_worker()
        worker.wait(timeout=PATIENCE)
    installation.start_worker()
    # then
    wait_until(
        lambda: installation.count(JobStatus.DONE) == 2 and installation.count(JobStatus.QUARANTINED) == 1,
        within_seconds=PATIENCE,
        what="the others are done",
    )
    deaths = deaths_of(installation, number)
    assert [(death.detail["stage"], death.detail["in_hand"], death.detail["signal"]) for death in deaths] == [
        ("decoding", True, None)
    ] * 3
    assert "gone without a trace of its end, while decoding" in (job_of(installation, number).error_words or "")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_work_of_a_killed_process_waits_for_no_lease(make: Make) -> None:
    # given: default timers, by which a lease runs out after fifteen seconds
    defaults = {"LEASE_SECONDS": "15", "HEARTBEAT_SECONDS": "5", "RECONCILE_SECONDS": "5", "BELL_PATIENCE_SECONDS": "5"}
    installation = make(**{f"FRACTURE_{name}": value for name, value in defaults.items()})
    installation.start_worker()
    installation.take_in(*(black_png(4000 + number, 4000) for number in range(40)))
    victim = installation.holder()
    # when
    kill([victim])
    # then: no lease that was renewed in the last five seconds can have run out in nine
    wait_until(lambda: installation.events("returned") > 0, within_seconds=9, what="its batch is returned")
    installation.wait_for(done=40)
    assert installation.events("quarantined") == 0
