"""The database's machine falls silent, its plug pulled or itself lost: nobody waits for a quarter of an hour."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from chaos.testbed.network import why_no_namespaces
from tests.conftest import PROJECT, skip_at_home
from tests.integration.silent_database import PATIENCE

pytestmark = pytest.mark.long


def test_a_database_that_falls_silent_is_told_while_a_statement_is_under_way(tmp_path: Path) -> None:
    if reason := why_no_namespaces():
        skip_at_home(f"a cable is pulled between network namespaces; {reason}")
    tmp_path.chmod(0o755)  # PostgreSQL runs as somebody else
    for folder in tmp_path.parents[:2]:
        folder.chmod(0o755)
    done = subprocess.run(
        ["unshare", "--net", "--mount", "--", sys.executable, "-m", "tests.integration.silent_database", str(tmp_path)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert set(told) == {"waiting for an answer", "asking in the middle"}
    assert max(told.values()) < PATIENCE
