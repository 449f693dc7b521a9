"""What a dead process leaves behind, and who reads it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
from sqlalchemy import update

from core.alive import seconds_since_life, show_life
from core.database import Database, now
from core.home import prepare_runtime
from core.records.deaths import Verdict, return_claim
from core.records.evidence import NOTHING_KNOWN, Evidence
from core.settings import Settings
from core.tables import JobRow, JobStatus
from tests.conftest import PROJECT, wait_until
from tests.fakes import claimed, event_kinds, jobs_of, take_in
from worker.memory import limited_memory
from worker.notes import (
    Note,
    Notebook,
    add_end,
    evidence_left_by,
    forget_dead,
    leave_runtime,
    note_path,
    peak_memory_of,
    read_note,
)
from worker.witness import Witness

HERE = f"worker@{socket.gethostname()}:"


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    forget_dead(tmp_path)
    return tmp_path


# Notes


def test_a_note_says_where_a_batch_is_and_nothing_afterwards(runtime: Path) -> None:
    notes = Notebook(note_path(runtime, 7))
    assert read_note(runtime, 7) == Note()
    with notes.holding("a" * 32):
        found = read_note(runtime, 7)
        assert found is not None
        assert (found.token, found.stage) == ("a" * 32, "claimed")
        notes.at("decoding", 2**62)
        found = read_note(runtime, 7)
        assert found is not None
        assert (found.stage, found.job_id) == ("decoding", 2**62)
    assert read_note(runtime, 7) == Note()


def test_a_note_survives_the_death_of_its_writer(runtime: Path) -> None:
    program = f"""
import os, signal
from pathlib import Path
from worker.notes import Notebook
notes = Notebook(Path({str(note_path(runtime, 8))!r}))
with notes.holding("b" * 32):
    notes.at("inferring")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", program], cwd=PROJECT, timeout=60).returncode == -signal.SIGKILL
    found = read_note(runtime, 8)
    assert found is not None
    assert (found.token, found.stage) == ("b" * 32, "inferring")


@pytest.fixture
def gone() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait(timeout=60)
    return process.pid


def test_nothing_is_left_of_the_runtime_folder_when_everything_has_ended(settings: Settings, gone: int) -> None:
    prepare_runtime(settings.runtime)
    forget_dead(settings.runtime)
    Notebook(note_path(settings.runtime, gone))
    (settings.runtime / "alive-inbox").write_text(f"1.0 {gone}")  # killed, or it would have taken it back
    leave_runtime(settings.runtime)
    assert not settings.runtime.exists()
    leave_runtime(settings.runtime)  # it was never made


def test_evidence_and_what_runs_beside_keep_the_runtime_folder(settings: Settings, gone: int) -> None:
    prepare_runtime(settings.runtime)
    forget_dead(settings.runtime)
    Notebook(note_path(settings.runtime, os.getpid()))
    add_end(settings.runtime, gone, Note(token="a" * 32))
    show_life(settings.runtime, "beat")
    leave_runtime(settings.runtime)
    assert read_note(settings.runtime, os.getpid()) == Note()
    assert read_note(settings.runtime, gone) == Note(token="a" * 32)
    assert seconds_since_life(settings.runtime, "beat") < 60


@pytest.mark.parametrize("content", [b"", b"\0" * 512, b'{"token": "abc', b"[]", b'{"unknown": 1}', b"\xff" * 512])
def test_an_illegible_note_is_none(content: bytes, runtime: Path) -> None:
    note_path(runtime, 9).write_bytes(content)
    assert read_note(runtime, 9) is None
    assert read_note(runtime, 10) is None


def test_evidence_is_taken_only_for_the_claim_and_the_machine_that_it_is_of(runtime: Path) -> None:
    add_end(runtime, 11, Note(token="t", stage="decoding", job_id=4, exit_code=-11, peak_memory_bytes=2**28))
    expected = Evidence(stage="decoding", job_id=4, exit_code=-11, peak_memory_bytes=2**28)
    assert evidence_left_by(runtime, f"{HERE}11", "t") == expected
    for worker, token in ((f"{HERE}11", "other"), (f"{HERE}12", "t"), ("worker@elsewhere:11", "t"), ("", "t")):
        assert evidence_left_by(runtime, worker, token) == NOTHING_KNOWN


def test_notes_of_the_long_dead_are_removed(runtime: Path) -> None:
    for name, age in ((str(os.getpid()), 7200), ("999999999", 7200), ("999999998", 10)):
        note_path(runtime, int(name)).write_bytes(b"")
        past = note_path(runtime, int(name)).stat().st_mtime - age
        os.utime(note_path(runtime, int(name)), (past, past))
    forget_dead(runtime)
    assert {path.name for path in (runtime / "notes").iterdir()} == {str(os.getpid()), "999999998"}


@pytest.mark.parametrize(
    ("evidence", "words"),
    [
        (Evidence(), "gone without a trace of its end"),
        (Evidence(exit_code=1, stage="claimed"), "ended with exit code 1"),
        (Evidence(exit_code=-11, stage="decoding", peak_memory_bytes=300 * 2**20),
         "ended by SIGSEGV, while decoding, with up to 300 MiB of memory"),
        (Evidence(exit_code=-9, stage="inferring", limit_seconds=60),
         "killed for a batch that took longer than 60 s, while inferring"),
        (Evidence(exit_code=-99), "ended by signal 99"),
    ],
)  # fmt: skip
def test_evidence_in_words(evidence: Evidence, words: str) -> None:
    assert evidence.words() == words


# Memory


def test_whoever_wants_more_than_the_limit_is_refused_and_others_are_not() -> None:
    program = """
import numpy as np
from worker.memory import limited_memory
with limited_memory(200):
    small = np.ones(2**24)  # 128 MiB
    del small
    try:
        np.ones(2**25)  # 256 MiB
    except MemoryError:
        print("refused")
large = np.ones(2**25)
with limited_memory(200):  # counted from what the process has by now
    small = np.ones(2**24)
with limited_memory(0):
    np.ones(2**25)
print("allowed")
"""
    ran = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, timeout=60)
    assert ran.stdout.split() == ["refused", "allowed"], ran.stderr


def test_a_limit_ends_with_its_block_whatever_happens() -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_DATA)
    with pytest.raises(MemoryError), limited_memory(1000):
        assert resource.getrlimit(resource.RLIMIT_DATA)[0] > 0
        raise MemoryError
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


def test_the_peak_memory_of_a_process_is_read_from_the_kernel() -> None:
    assert (peak_memory_of(os.getpid()) or 0) > 2**20
    assert peak_memory_of(999_999_999) is None


# The claim of a process that is known to be dead


def test_the_batch_of_a_dead_process_is_returned_before_its_lease_runs_out(database: Database, model_id: int) -> None:
    take_in(database, 1, 2)
    taken = claimed(database, model_id)
    evidence = Evidence(stage="decoding", job_id=taken.jobs[0].id, exit_code=-11)
    for expected in ({taken.jobs[0].id: Verdict.RETURNED, taken.jobs[1].id: Verdict.RETURNED}, {}):
        with database.transaction() as session:
            assert return_claim(session, taken.token, "worker@test:1", evidence) == expected
    assert [(job.status, job.deaths) for job in jobs_of(database)] == [(JobStatus.WAITING, 1)] * 2
    assert event_kinds(database).count("returned") == 2


def test_a_death_while_the_network_is_loaded_is_held_against_no_job(database: Database, model_id: int) -> None:
    take_in(database, 1, 2)
    pauses = []
    for _ in range(6):
        with database.transaction() as session:  # whoever paused has waited long enough
            session.execute(update(JobRow).values(available_at=now(session)))
        taken = claimed(database, model_id)
        assert (len(taken.jobs), taken.alone) == (2, False)
        with database.transaction() as session:
            before = now(session)
            found = return_claim(session, taken.token, "worker@test:1", Evidence(stage="claimed", exit_code=-9))
        assert set(found.values()) == {Verdict.RETURNED}
        pauses.append(round((jobs_of(database)[0].available_at - before).total_seconds()))
    # then: after three vain attempts the others get their turn
    assert pauses == [0, 0, 0, 5, 10, 20]
    assert [(job.deaths, job.deaths_alone) for job in jobs_of(database)] == [(0, 0)] * 2
    assert event_kinds(database).count("returned") == 12


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process
        process.kill()


@pytest.fixture
def rung(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    rung: list[int] = []
    monkeypatch.setattr("worker.witness.ring", lambda jobs, _settings: rung.append(jobs))
    return rung


def witness_of(settings: Settings, database: Database, pid: int) -> Witness:
    url = database.url.render_as_string(hide_password=False)
    return Witness(settings.with_changes(database_url=url, batch_limit_seconds=0.5), lambda: [pid])


@pytest.fixture
def prepared(settings: Settings) -> Iterator[Settings]:
    prepare_runtime(settings.runtime)
    forget_dead(settings.runtime)
    yield settings
    for path in (settings.runtime / "notes").iterdir():
        path.unlink()
    (settings.runtime / "notes").rmdir()
    settings.runtime.rmdir()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_process_that_takes_too_long_is_killed_and_its_batch_returned(
    prepared: Settings, database: Database, model_id: int, sleeper: subprocess.Popen[bytes], rung: list[int]
) -> None:
    take_in(database, 1)
    taken = claimed(database, model_id)
    witness = witness_of(prepared, database, sleeper.pid)
    notes = Notebook(note_path(prepared.runtime, sleeper.pid))
    with notes.holding(taken.token):
        notes.at("inferring")
        witness.start()
        assert sleeper.wait(timeout=30) == -signal.SIGKILL
        witness.tell(sleeper.pid, -signal.SIGKILL)
        wait_until(lambda: bool(rung), within_seconds=30, what="the batch is returned")
    (job,) = jobs_of(database)
    assert (job.status, job.deaths) == (JobStatus.WAITING, 1)


@pytest.mark.parametrize("noted", ["nothing", "the claim before"])
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_process_that_dies_between_a_claim_and_its_note_gives_it_back_at_once(
    prepared: Settings,
    database: Database,
    model_id: int,
    sleeper: subprocess.Popen[bytes],
    rung: list[int],
    noted: str,
) -> None:
    take_in(database, 1)
    witness = witness_of(prepared, database, sleeper.pid)
    claimed(database, model_id, worker=f"{HERE}{sleeper.pid}")
    notes = Notebook(note_path(prepared.runtime, sleeper.pid))
    with notes.holding("0" * 32) if noted == "the claim before" else nullcontext():
        witness._bury(sleeper.pid, -signal.SIGKILL)
    assert rung == [1]
    assert [(job.status, job.deaths) for job in jobs_of(database)] == [(JobStatus.WAITING, 0)]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_process_that_ends_with_nothing_in_hand_costs_nothing(
    prepared: Settings, database: Database, model_id: int, sleeper: subprocess.Popen[bytes], rung: list[int]
) -> None:
    take_in(database, 1)
    claimed(database, model_id)
    witness = witness_of(prepared, database, sleeper.pid)
    Notebook(note_path(prepared.runtime, sleeper.pid))
    witness._bury(sleeper.pid, 0)
    witness._bury(999_999_999, -9)
    assert rung == []
    assert jobs_of(database)[0].deaths == 0
