"""The doctor: what it finds, what it mends, and that it leaves alone what is well."""

from __future__ import annotations

import hashlib
import json
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import delete, update

from cli.commands.doctor import doctor
from cli.main import main
from core.database import now
from core.records.counters import count_differences, job_counts
from core.records.workers import Identity
from core.storage import SAFE_AGE_SECONDS
from core.tables import ArrivalRow, CounterRow, JobRow, JobStatus
from tests.conftest import draw_radiograph
from tests.fakes import claimed, die, event_kinds, jobs_of, let_leases_run_out
from tests.unit.desk import Desk
from tests.unit.patients import (
    WORKER,
    Broker,
    age,
    broker,
    desk,
    found,
    let_pass,
    path_of,
    report,
    run_together,
    store_of,
)
from worker.doctor.examination import CHECKS

__all__ = ["broker", "desk"]


# What is well


def test_nothing_is_wrong_with_an_empty_installation(desk: Desk) -> None:
    assert found(desk, deep=True) == {}


def test_work_at_every_stage_is_well(desk: Desk) -> None:
    # given: files that are settling, taken, recorded, in hand, done, and moved on, all just now
    report(desk, WORKER)
    desk.drop("done.png", draw_radiograph(1))
    desk.take()
    desk.classify()
    desk.inbox.settle()
    for number in (2, 3, 4):
        desk.drop(f"{number}.png", draw_radiograph(number))
    desk.take()
    desk.drop("broken.png", b"no image")
    desk.take()
    claimed(desk.database, 1, limit=1, worker=str(WORKER))
    desk.drop("taken.png", draw_radiograph(5))
    for _ in range(3):
        desk.look(10)
    desk.drop("settling.png", draw_radiograph(6))
    # when, then
    assert found(desk, deep=True) == {}
    assert found(desk, fix=True) == {}


def test_a_long_wait_behind_busy_workers_is_no_loss(desk: Desk) -> None:
    for number in (1, 2):
        desk.drop(f"{number}.png", draw_radiograph(number))
    desk.take()
    let_pass(desk, 86_400)
    report(desk, WORKER)
    claimed(desk.database, 1, limit=1, worker=str(WORKER))
    assert found(desk) == {}


def test_a_lease_that_ran_out_is_the_reconcilers_for_a_while(desk: Desk) -> None:
    desk.drop("1.png", draw_radiograph(1))
    desk.take()
    report(desk, WORKER)
    claimed(desk.database, 1, worker="worker@gone:1")
    let_leases_run_out(desk.database)
    assert found(desk) == {}


def test_a_large_drop_that_is_being_recorded_is_no_loss(desk: Desk) -> None:
    # given: one file of a drop is recorded, the other was taken ten minutes ago and has not had its turn
    report(desk, Identity("inbox", "test", 2))
    desk.drop("first.png", draw_radiograph(1))
    desk.take()
    desk.drop("second.png", draw_radiograph(2))
    for _ in range(3):
        desk.look(10)
    for path in desk.in_processing():
        age(path, 600)
    assert found(desk) == {}
    # and when nothing has been recorded for that long either, it is one
    with desk.database.transaction() as session:
        session.execute(update(ArrivalRow).values(received_at=now(session) - timedelta(seconds=600)))
    assert set(found(desk)) == {"unrecorded files"}


def test_a_file_that_is_still_being_written_is_left_to_its_writer(desk: Desk) -> None:
    desk.drop("slow.png", draw_radiograph(1))
    for _ in range(3):
        desk.look(10)
    for path in sorted(desk.in_processing()):
        age(path, 600 if path.is_dir() else 1)
    assert found(desk) == {}


# What is stuck


def test_leases_of_dead_workers_are_returned_and_announced(desk: Desk, broker: Broker) -> None:
    desk.drop("1.png", draw_radiograph(1))
    desk.take()
    claimed(desk.database, 1, worker="worker@gone:1")
    let_leases_run_out(desk.database)
    (verdict,) = found(desk).values()
    assert (verdict.check, verdict.well) == ("leases", False)
    assert verdict.found is not None
    assert (verdict.found.count, verdict.found.examples) == (1, ("radiograph 1",))
    report(desk, WORKER)
    let_pass(desk, 3600)
    assert found(desk, fix=True)["leases"].well
    (job,) = jobs_of(desk.database)
    assert (job.status, job.deaths, broker.rung) == (JobStatus.WAITING, 1, 1)
    assert found(desk) == {}


def test_work_that_no_message_announces_is_announced(desk: Desk, broker: Broker) -> None:
    desk.drop("1.png", draw_radiograph(1))
    desk.take()
    report(desk, WORKER)
    let_pass(desk, 3600)
    assert set(found(desk)) == {"bells"}
    assert broker.rung == 0
    assert found(desk, fix=True)["bells"].well
    assert broker.rung == 1
    assert found(desk) == {}


def test_a_broker_that_is_away_is_told_where_it_keeps_work_waiting(desk: Desk, broker: Broker) -> None:
    broker.away = True
    assert found(desk) == {}
    desk.drop("1.png", draw_radiograph(1))
    desk.take()
    report(desk, WORKER)
    let_pass(desk, 3600)
    verdict = found(desk, fix=True)["bells"]
    assert not verdict.well
    assert verdict.left is not None
    assert "broker" in verdict.left.words


def test_quarantine_is_shown_with_its_evidence_and_is_not_wrong(desk: Desk) -> None:
    desk.drop("1.png", draw_radiograph(1))
    desk.take()
    for _ in range(3):
        claimed(desk.database, 1)
        die(desk.database)
    verdict = found(desk, fix=True)["quarantine"]
    assert verdict.well
    assert verdict.found is not None
    assert verdict.found.count == 1
    assert verdict.found.examples[0].startswith("radiograph 1: Its worker died 3 times")


# Counts and the database itself


def test_wrong_counts_are_counted_anew(desk: Desk) -> None:
    for number in (1, 2, 3):
        desk.drop(f"{number}.png", draw_radiograph(number))
    desk.take()
    with desk.database.transaction() as session:
        session.execute(delete(CounterRow).where(CounterRow.name == "jobs waiting"))
        session.execute(update(CounterRow).where(CounterRow.name == "jobs done").values(change=7))
    (verdict,) = found(desk).values()
    assert verdict.found is not None
    assert verdict.check == "counters"
    assert verdict.found.examples[-1] == "jobs waiting: +3"
    assert found(desk, fix=True)["counters"].well
    desk.classify()
    with desk.database.reading() as session:
        counts = job_counts(session)
        assert count_differences(session) == {}
    assert (counts[JobStatus.WAITING], counts[JobStatus.DONE]) == (0, 3)


def test_counts_are_right_after_doctors_and_writers_at_once(desk: Desk) -> None:
    for number in range(20):
        desk.drop(f"{number}.png", draw_radiograph(number))
    desk.take()
    with desk.database.transaction() as session:
        session.execute(delete(CounterRow))
    start = threading.Barrier(4)

    def heal() -> None:
        start.wait()
        found(desk, fix=True)

    def write() -> None:
        start.wait()
        for number in range(1, 21):
            with desk.database.transaction() as session:
                session.execute(update(JobRow).where(JobRow.id == number).values(status=JobStatus.FAILED))

    run_together(heal, heal, heal, write)
    assert found(desk) == {}
    with desk.database.reading() as session:
        assert count_differences(session) == {}
        assert job_counts(session)[JobStatus.FAILED] == 20


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_damaged_database_file_is_told(desk: Desk) -> None:
    for number in range(30):
        desk.drop(f"{number}.png", draw_radiograph(number))
    desk.take()
    desk.database.dispose()  # closing the last connection brings everything into the one file
    path = Path(str(desk.database.url.database))
    with desk.database.reading() as session:
        root = session.connection().exec_driver_sql("SELECT rootpage FROM sqlite_master WHERE name = 'events'").scalar()
        size = session.connection().exec_driver_sql("PRAGMA page_size").scalar()
    desk.database.dispose()
    with path.open("r+b") as stream:
        stream.seek((int(root or 0) - 1) * int(size or 0) + 8)
        stream.write(b"\xff" * 200)
    verdict = found(desk)["database"]
    assert not verdict.well


# Several doctors, and the command


def test_two_doctors_at_once_mend_everything_once(desk: Desk) -> None:
    data = [draw_radiograph(seed) for seed in range(12)]
    for number in range(6):
        desk.drop(f"{number}.png", data[number])
    desk.take()
    desk.classify()  # never moved on
    for number in range(6, 9):
        desk.drop(f"{number}.png", data[number])
    desk.take()
    claimed(desk.database, 1, limit=2, worker="worker@gone:1")
    for number in range(9, 12):
        desk.drop(f"{number}.png", data[number])
    for _ in range(3):
        desk.look(10)  # taken, never recorded
    store = store_of(desk)
    store.put(b"forgotten", hashlib.sha256(b"forgotten").hexdigest())
    store.incoming.mkdir(exist_ok=True)
    (store.incoming / "half").write_bytes(b"half")
    path_of(desk, 7).unlink()
    report(desk, WORKER)
    let_pass(desk, 2 * SAFE_AGE_SECONDS)
    with desk.database.transaction() as session:
        session.execute(update(CounterRow).where(CounterRow.name == "jobs done").values(change=99))
    assert len(found(desk)) == 8  # of ten checks: all but the database's own and quarantine
    start = threading.Barrier(2)

    def heal() -> None:
        start.wait()
        found(desk, fix=True)

    run_together(heal, heal)
    assert found(desk, deep=True) == {}
    assert [job.deaths for job in jobs_of(desk.database)] == [0] * 6 + [1, 1, 0]
    assert event_kinds(desk.database).count("returned") == 2
    assert desk.below(desk.settings.done) == [f"{number}.png" for number in range(6)]
    assert sorted(desk.below(desk.settings.inbox)) == ["10.png", "11.png", "9.png"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_command_says_it_in_words_and_in_json(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRACTURE_HOME", str(desk.settings.home))
    monkeypatch.setenv("FRACTURE_DATABASE_URL", desk.database.url.render_as_string(hide_password=False))
    desk.drop("MEIER_ANNA.png", draw_radiograph(1))
    desk.take()
    path_of(desk, 1).unlink()
    for path in desk.in_processing():
        path.write_bytes(b"") if path.is_file() else None
    asked = CliRunner().invoke(doctor, [])
    assert asked.exit_code == 1
    assert "wrong   originals: 1 radiograph without the original" in asked.output
    assert "radiograph 1" in asked.output
    assert "--fix brings back" in asked.output
    assert "MEIER" not in asked.output
    document = json.loads(CliRunner().invoke(doctor, ["--fix", "--json"]).stdout)
    assert (document["well"], document["fixed"]) == (False, True)
    assert [each["check"] for each in document["checks"]] == [check.name for check in CHECKS]
    store_of(desk).restore(draw_radiograph(1), hashlib.sha256(draw_radiograph(1)).hexdigest())
    asked = CliRunner().invoke(doctor, ["--deep"])
    assert (asked.exit_code, asked.output.count("ok  ")) == (0, len(CHECKS))


def test_without_an_installation_it_refuses_and_makes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FRACTURE_HOME", str(tmp_path / "nowhere"))
    with pytest.raises(SystemExit) as ended:
        main(["doctor", "--fix"])
    assert ended.value.code == 2
    assert "There is no installation" in capsys.readouterr().err
    assert not (tmp_path / "nowhere").exists()
