"""`fracture-queue health`: the process's rounds, not the state of what it depends on."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.commands.health import health
from core.alive import ROLES, NoSignOfLife, forget_life, seconds_since_life, show_life
from core.home import prepare_runtime
from core.settings import Settings


@pytest.fixture
def here(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("FRACTURE_HOME", str(settings.home))
    monkeypatch.setenv("FRACTURE_HEARTBEAT_SECONDS", "1")
    monkeypatch.setenv("FRACTURE_PORT", "1")  # nobody listens there
    prepare_runtime(settings.runtime)
    return settings


def ask(role: str) -> Result:
    return CliRunner().invoke(health, [role])


@pytest.mark.parametrize("role", ROLES)
def test_a_loop_that_turns_is_well_until_it_stands_still(
    here: Settings, role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NoSignOfLife, match=f"No {role} runs on this machine"):
        seconds_since_life(here.runtime, role)
    show_life(here.runtime, role)
    assert ask(role).exit_code == 0
    later = time.monotonic() + 61
    monkeypatch.setattr("core.alive.time.monotonic", lambda: later)
    found = ask(role)
    assert isinstance(found.exception, NoSignOfLife)
    assert "has not done its rounds for 6" in str(found.exception)


def test_an_orderly_end_and_a_new_start_of_the_machine_are_no_life(here: Settings) -> None:
    show_life(here.runtime, "beat")
    forget_life(here.runtime, "beat")
    assert isinstance(ask("beat").exception, NoSignOfLife)
    (here.runtime / "alive-beat").write_text("99999999999.0")
    with pytest.raises(NoSignOfLife, match="since it was started"):
        seconds_since_life(here.runtime, "beat")


def test_a_reader_never_meets_a_mark_half_written(here: Settings) -> None:
    show_life(here.runtime, "inbox")
    ended = threading.Event()

    def turn() -> None:
        while not ended.is_set():
            show_life(here.runtime, "inbox")

    loop = threading.Thread(target=turn)
    loop.start()
    try:
        assert all(seconds_since_life(here.runtime, "inbox") < 60 for _ in range(5000))
    finally:
        ended.set()
        loop.join(timeout=10)


def test_a_mark_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    show_life(tmp_path / "missing", "beat")
    with pytest.raises(NoSignOfLife):
        seconds_since_life(tmp_path / "missing", "beat")


def test_a_page_that_does_not_answer_is_told_with_its_address(here: Settings) -> None:
    found = ask("web")
    assert isinstance(found.exception, NoSignOfLife)
    assert "http://127.0.0.1:1/healthz" in str(found.exception)


def test_a_probe_loads_no_heavy_library() -> None:
    code = "import sys, cli.main, cli.commands.health; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"tensorflow", "ai_edge_litert", "sqlalchemy", "celery", "numpy", "flask"} & set(loaded)
