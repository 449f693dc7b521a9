"""A keeper asks `fracture-queue health` while the broker is away or hangs: nobody is to be started again for that."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial

import pytest

from core.alive import NoSignOfLife, seconds_since_life
from tests.conftest import PROJECT, wait_until
from tests.integration.parts import PATIENCE, Installation, RedisServer, kill

ROLES = ("worker", "inbox", "beat")
#: A mark older than 60 s has the command say no; that much and a round more is how long the broker is away.
AWAY_SECONDS = 75.0


def ask(installation: Installation, role: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cli.main", "health", role],
        env=installation.environment,
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=30,
    )


def lives(installation: Installation, role: str) -> bool:
    try:
        return seconds_since_life(installation.settings.runtime, role) < 5
    except NoSignOfLife:
        return False


def hang(redis: RedisServer) -> None:
    assert redis._process is not None
    kill([redis._process.pid], signal.SIGSTOP)


def go_on(redis: RedisServer) -> None:
    assert redis._process is not None
    kill([redis._process.pid], signal.SIGCONT)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("leave", "return_"), [(RedisServer.kill, RedisServer.start), (hang, go_on)], ids=["killed", "hangs"]
)
def test_no_probe_asks_for_a_new_start_while_the_broker_is_away(
    installation: Installation,
    redis: RedisServer,
    leave: Callable[[RedisServer], None],
    return_: Callable[[RedisServer], None],
) -> None:
    for role in ROLES:
        installation.start(role)
    for role in ROLES:
        wait_until(partial(lives, installation, role), within_seconds=PATIENCE, what=f"the {role} lives")
    leave(redis)
    until = time.monotonic() + AWAY_SECONDS
    try:
        while time.monotonic() < until:
            for role in ROLES:
                told = ask(installation, role)
                assert told.returncode == 0, told.stderr
    finally:
        return_(redis)
    wait_until(
        lambda: all(lives(installation, role) for role in ROLES), within_seconds=PATIENCE, what="all go on as before"
    )
