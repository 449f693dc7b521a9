import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.errors import ConfigurationError
from core.settings import Settings
from tests.conftest import PROJECT, wait_until
from worker.redis_server import redis_command
from worker.rotation import rotate
from worker.supervisor import Role, Supervisor

WAITS = "while :; do sleep 0.05; done"

Supervise = Callable[..., Supervisor]


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    return tmp_path / "notes"


@pytest.fixture
def supervise(tmp_path: Path, notes: Path) -> Iterator[Supervise]:
    """Make a supervisor of shell scripts; what is left of them ends with the test."""
    made: list[Supervisor] = []

    def make(stop_seconds: float = 10, **scripts: str) -> Supervisor:
        roles = [Role(name, ["sh", "-c", script]) for name, script in scripts.items()]
        environment = {**os.environ, "NOTES": str(notes)}
        made.append(Supervisor(roles, logs=tmp_path, environment=environment, stop_seconds=stop_seconds))
        return made[-1]

    yield make
    for supervisor in made:
        supervisor.stop()


def lines(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def tended(supervisor: Supervisor, condition: Callable[[], bool]) -> Callable[[], bool]:
    def look() -> bool:
        supervisor.tend()
        return condition()

    return look


def test_all_roles_run_and_their_output_is_logged(supervise: Supervise, tmp_path: Path, notes: Path) -> None:
    supervisor = supervise(one=f"echo says one; echo one >> $NOTES; {WAITS}", two=f"echo two >> $NOTES; {WAITS}")
    assert supervisor.start(within_seconds=30, stop=threading.Event())
    wait_until(lambda: len(lines(notes)) == 2, within_seconds=30, what="both run")
    assert set(supervisor.pids()) == {"one", "two"}
    assert supervisor.last_words("one") == "says one"
    assert (tmp_path / "two.log").read_text() == ""
    assert supervisor.last_words("three") == ""


def test_a_role_that_dies_is_started_again_after_a_pause_and_the_others_stay(
    supervise: Supervise, notes: Path, caplog: pytest.LogCaptureFixture
) -> None:
    supervisor = supervise(steady=WAITS, dying="echo died >> $NOTES; exit 3")
    supervisor.start(within_seconds=30, stop=threading.Event())
    steady = supervisor.pids()["steady"]
    wait_until(tended(supervisor, lambda: len(lines(notes)) >= 2), within_seconds=30, what="it is started again")
    assert supervisor.pids()["steady"] == steady
    assert supervisor.failed is None
    assert "dying ended with exit code 3; started again in 0.5 s." in caplog.text


def test_a_role_that_is_killed_is_started_again(supervise: Supervise, caplog: pytest.LogCaptureFixture) -> None:
    supervisor = supervise(role=WAITS)
    supervisor.start(within_seconds=30, stop=threading.Event())
    first = supervisor.pids()["role"]
    os.kill(first, signal.SIGKILL)
    wait_until(
        tended(supervisor, lambda: supervisor.pids().get("role", first) != first),
        within_seconds=30,
        what="it is started again",
    )
    assert "role was killed by SIGKILL" in caplog.text


def test_pauses_grow_while_a_role_keeps_dying(supervise: Supervise, caplog: pytest.LogCaptureFixture) -> None:
    supervisor = supervise(dying="exit 1")
    supervisor.start(within_seconds=30, stop=threading.Event())
    wait_until(tended(supervisor, lambda: caplog.text.count("again in") >= 3), within_seconds=30, what="three deaths")
    assert [record.getMessage().rsplit(" in ", 1)[1] for record in caplog.records][:3] == ["0.5 s.", "1 s.", "2 s."]


def test_a_wrong_configuration_ends_everything_because_another_start_would_not_help(
    supervise: Supervise, notes: Path
) -> None:
    supervisor = supervise(steady=WAITS, wrong="echo once >> $NOTES; echo FRACTURE_X is wrong. >&2; exit 2")
    stop = threading.Event()
    supervisor.start(within_seconds=30, stop=stop)
    supervisor.run(stop)
    assert supervisor.failed == "wrong"
    assert supervisor.last_words("wrong") == "FRACTURE_X is wrong."
    assert lines(notes) == ["once"]


def test_roles_are_stopped_politely_and_in_reverse(supervise: Supervise, notes: Path) -> None:
    polite = "trap 'echo {0} ends >> $NOTES; exit 0' TERM; echo {0} >> $NOTES; " + WAITS
    supervisor = supervise(one=polite.format("one"), two=polite.format("two"))
    supervisor.start(within_seconds=30, stop=threading.Event())
    wait_until(lambda: len(lines(notes)) == 2, within_seconds=30, what="both listen")
    supervisor.stop()
    assert notes.read_text().splitlines()[2:] == ["two ends", "one ends"]
    assert not any(is_alive(pid) for pid in supervisor.pids().values())


def test_what_does_not_stop_in_time_is_killed(
    supervise: Supervise, notes: Path, caplog: pytest.LogCaptureFixture
) -> None:
    supervisor = supervise(stop_seconds=0.2, deaf=f"trap '' TERM; echo deaf >> $NOTES; {WAITS}")
    supervisor.start(within_seconds=30, stop=threading.Event())
    wait_until(lambda: lines(notes) == ["deaf"], within_seconds=30, what="it does not listen")
    supervisor.stop()
    assert "deaf did not stop in time and is killed." in caplog.text
    assert not any(is_alive(pid) for pid in supervisor.pids().values())


def test_later_roles_start_when_the_first_is_ready(tmp_path: Path, notes: Path) -> None:
    script = f"import time, pathlib; time.sleep(0.3); pathlib.Path({str(notes)!r}).touch(); time.sleep(60)"
    slow = Role("slow", [sys.executable, "-c", script], notes.exists)
    seen: list[bool] = []

    def later_is_ready() -> bool:
        seen.append(notes.exists())
        return True

    later = Role("later", ["sh", "-c", WAITS], later_is_ready)
    supervisor = Supervisor([slow, later], logs=tmp_path, environment=os.environ, stop_seconds=10)
    try:
        assert supervisor.start(within_seconds=30, stop=threading.Event())
        assert seen == [True]
    finally:
        supervisor.stop()


def test_a_role_that_never_gets_ready_is_waited_for_with_a_bound(tmp_path: Path) -> None:
    never = Role("never", ["sh", "-c", WAITS], lambda: False)
    supervisor = Supervisor([never], logs=tmp_path, environment=os.environ, stop_seconds=10)
    try:
        assert not supervisor.start(within_seconds=0.2, stop=threading.Event())
    finally:
        supervisor.stop()


def test_no_orphan_stays_when_the_supervisor_itself_is_killed(tmp_path: Path) -> None:
    program = f"""
import os, pathlib, sys, threading
from worker.supervisor import Role, Supervisor
logs = pathlib.Path({str(tmp_path)!r})
roles = [Role(name, [sys.executable, "-c", "import time; time.sleep(600)"]) for name in ("one", "two")]
supervisor = Supervisor(roles, logs=logs, environment=os.environ, stop_seconds=10)
stop = threading.Event()
supervisor.start(within_seconds=30, stop=stop)
print(*supervisor.pids().values(), flush=True)
supervisor.run(stop)
"""
    process = subprocess.Popen([sys.executable, "-c", program], cwd=PROJECT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    pids = [int(word) for word in process.stdout.readline().split()]
    assert len(pids) == 2
    assert all(is_alive(pid) for pid in pids)
    process.kill()
    process.wait(timeout=30)
    process.stdout.close()
    wait_until(lambda: not any(is_alive(pid) for pid in pids), within_seconds=30, what="the roles have ended")


def test_the_embedded_redis_keeps_what_it_acknowledged_and_listens_to_nobody_else(settings: Settings) -> None:
    command = redis_command(settings)
    options = dict(zip(command[1::2], command[2::2], strict=True))
    assert options["--appendonly"] == "yes"
    assert options["--maxmemory-policy"] == "noeviction"
    assert options["--port"] == "0"
    assert options["--unixsocketperm"] == "600"
    assert Path(options["--dir"]).is_relative_to(settings.home)


def test_a_socket_path_that_would_be_cut_is_refused(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Settings, "runtime", Path("/tmp/" + "x" * 120))  # noqa: S108
    with pytest.raises(ConfigurationError, match="The path of the Redis socket is too long"):
        redis_command(settings)


def test_a_log_that_grows_without_end_stays_below_its_bound_and_keeps_the_newest(
    supervise: Supervise, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.supervisor._ROTATE_EVERY_SECONDS", 0.05)
    monkeypatch.setattr("worker.supervisor.rotate", lambda log: rotate(log, most_bytes=2000, kept=2))
    supervisor = supervise(talks="n=0; while :; do n=$((n + 1)); echo line $n; sleep 0.001; done")
    supervisor.start(within_seconds=30, stop=threading.Event())
    pid = supervisor.pids()["talks"]
    wait_until(
        tended(supervisor, lambda: (tmp_path / "talks.log.2").exists()), within_seconds=60, what="two logs are full"
    )
    supervisor.stop()
    assert supervisor.pids()["talks"] == pid  # its writer was never asked
    kept = sorted(path.name for path in tmp_path.glob("talks.log*"))
    assert kept == ["talks.log", "talks.log.1", "talks.log.2"]
    numbers = [
        int(line.split()[1])
        for name in reversed(kept)
        for line in (tmp_path / name).read_text().splitlines()
        if line.startswith("line ") and line.split()[1:]
    ]
    assert numbers == sorted(numbers)


def test_a_log_that_cannot_be_rotated_stays_as_it_is(tmp_path: Path) -> None:
    log = tmp_path / "web.log"
    assert not rotate(log)
    log.write_text("x" * 100)
    assert not rotate(log, most_bytes=100)
    (tmp_path / "web.log.1").mkdir()
    with pytest.raises(OSError, match=r"web\.log\.1"):
        rotate(log, most_bytes=10, kept=1)
    assert log.read_text() == "x" * 100


def test_a_program_that_is_not_there_is_told_and_ends_the_start(tmp_path: Path) -> None:
    absent = tmp_path / "redis-server"
    supervisor = Supervisor([Role("redis", [str(absent)])], logs=tmp_path, environment={}, stop_seconds=1)

    assert not supervisor.start(within_seconds=5, stop=threading.Event())

    assert supervisor.failed == "redis"
    assert supervisor.last_words("redis") == f"{absent} cannot be started: No such file or directory."
    supervisor.stop()
