"""Damaged files through every door of one installation: nothing crashes, nothing says 500, memory is bounded."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.conftest import PROJECT

MOST_MIB = 1000


@pytest.mark.timeout(5400)
@pytest.mark.parametrize("count", [300, pytest.param(20_000, marks=pytest.mark.long)])
def test_damaged_files_come_by_three_doors_and_each_ends_in_words(count: int) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.three_doors", str(count)],
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    print(done.stdout)  # noqa: T201 - shown by `pytest -rP`, or after a failure
    found = json.loads(done.stdout)
    assert found["inputs"] == sum(found["arrivals"].values()) == count
    assert set(found["arrivals"]) == {"api", "inbox", "command"}
    assert found["faults"] == []
    assert found["answers_500"] == 0
    assert found["peak_mib"] < MOST_MIB
    # Nothing is left undone, and the damage reaches all places where a file can end.
    assert {end.partition(" ")[0] for end in found["ends"]} == {"job", "rejected"}
    assert {"job done", "job failed unreadable", "rejected unreadable", "rejected unsupported"} <= set(found["ends"])
    assert not any(end.startswith(("job waiting", "job running", "job quarantined")) for end in found["ends"])
