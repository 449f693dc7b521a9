"""`fracture-queue up`: starts everything, starts again what dies, stops in order, leaves no orphan."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from core.tables import JobStatus
from tests.acceptance.conftest import Installation, is_alive
from tests.conftest import wait_until

ROLES = {"redis", "web", "inbox", "worker", "beat"}


def test_it_says_where_the_page_and_the_inbox_are(shared_installation: Installation) -> None:
    said = shared_installation.said()

    assert shared_installation.address in said
    assert str(shared_installation.settings.inbox) in said
    assert "never diagnosis" in said
    assert shared_installation.roles_alive() == ROLES


def test_a_second_up_in_the_same_home_is_refused_and_hurts_nothing(shared_installation: Installation) -> None:
    refused = shared_installation.run("up")

    assert refused.returncode == 2
    assert "already runs" in refused.stderr
    assert shared_installation.roles_alive() == ROLES


def test_each_role_is_started_again_when_it_dies(installation: Installation, test_radiographs: list[Path]) -> None:
    for role in sorted(ROLES):
        pid = installation.role(role)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda pid=pid: not is_alive(pid), within_seconds=10, what=f"{role} died")  # type: ignore[misc]
        wait_until(lambda: installation.roles_alive() == ROLES, within_seconds=20, what=f"{role} runs again")

    installation.drop(test_radiographs[0])

    installation.wait_for_done(1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_polite_stop_ends_everything(installation: Installation, number: int) -> None:
    family = installation.family()
    assert len(family) >= len(ROLES)

    assert installation.stop(number) == 0

    assert [pid for pid in family if is_alive(pid)] == []
    assert not installation.settings.runtime.exists()


def test_sigkill_leaves_no_orphan_and_a_second_up_recovers(
    installation: Installation, test_radiographs: list[Path]
) -> None:
    installation.drop(*test_radiographs[:30])
    wait_until(lambda: installation.count(JobStatus.DONE) > 0, within_seconds=60, what="work has begun")
    family = installation.family()
    before = {result["id"]: result for result in installation.results("--status", "done")}

    installation.stop(signal.SIGKILL)

    wait_until(lambda: not any(is_alive(pid) for pid in family), within_seconds=10, what="no orphan is left")
    installation.start()
    installation.wait_for_done(30)
    after = {result["id"]: result for result in installation.results()}
    assert {result["status"] for result in after.values()} == {"done"}
    assert before
    assert {number: after[number] for number in before} == before  # what was answered stays as it was
