"""The test bed of several machines, with few radiographs and a short cut."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.conftest import PROJECT

pytestmark = pytest.mark.long


@pytest.mark.timeout(900)
def test_a_worker_that_is_cut_off_and_one_that_is_added_lose_and_double_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "chaos.testbed", "--files", "600", "--cut-seconds", "30", "--json"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )

    assert done.returncode == 0, done.stderr + done.stdout
    found = json.loads(done.stdout)
    assert found["verdict"] == {"given": 600, "lost": 0, "doubled": 0, "altered": 0, "left": 0}
    assert set(found["answered"]) == {"worker-1", "worker-2", "worker-3"}
    assert found["held_when_cut"] > 0
    assert found["freed_after_seconds"] is not None, "its work went on elsewhere before it was back"
