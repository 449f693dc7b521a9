"""`fracture-queue selftest`: known images in, right answers out, nothing left behind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from core.bundle import find_bundles
from core.database import Database
from tests.conftest import PROJECT
from tests.integration.parts import RedisServer

PATIENCE = 240


def selftest(tmp_path: Path, *arguments: str, **settings: str) -> tuple[int, dict[str, Any]]:
    """Run it; return its exit code and its document."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    outside = {name: value for name, value in os.environ.items() if not name.startswith("FRACTURE_")}
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", "selftest", "--json", *arguments],
        env={**outside, "TMPDIR": str(temporary), "FRACTURE_HOME": str(tmp_path / "home"), **settings},
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.stdout, done.stderr
    assert list(temporary.iterdir()) == []
    assert not (tmp_path / "home").exists()
    return done.returncode, json.loads(done.stdout)


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    server = RedisServer()
    server.start()
    yield server
    server.remove()


def test_it_finds_a_sound_installation_well(tmp_path: Path) -> None:
    code, document = selftest(tmp_path)
    assert (code, document["ok"], document["error"]) == (0, True, None), document
    assert all(step["ok"] and step["seconds"] >= 0 for step in document["steps"])
    assert len(document["steps"]) == 7


@pytest.mark.parametrize("database_url", ["sqlite", pytest.param("postgresql", marks=pytest.mark.long)], indirect=True)
def test_on_the_configured_database_and_broker_it_leaves_rows_and_keys_as_they_were(
    tmp_path: Path, database_url: str, redis: RedisServer
) -> None:
    database = Database(database_url)
    schemas = text("SELECT count(*) FROM pg_namespace")
    folder = sorted(path.name for path in tmp_path.glob("*.db*") if path.suffix == ".db")

    def looked_at() -> tuple[int, ...]:
        with database.reading() as session:
            rows = session.execute(text("SELECT count(*) FROM model_versions")).scalar_one()
            return rows, 0 if database.is_sqlite else session.execute(schemas).scalar_one()

    before = looked_at()
    with redis.client() as client:
        client.set("kept", "1")
    code, document = selftest(tmp_path, "--here", FRACTURE_DATABASE_URL=database_url, FRACTURE_BROKER_URL=redis.url)
    assert (code, document["ok"]) == (0, True), document
    assert looked_at() == before
    assert sorted(path.name for path in tmp_path.glob("*.db*") if path.suffix == ".db") == folder
    assert list(tmp_path.glob(".selftest*")) == []
    with redis.client() as client:
        assert client.keys() == [b"kept"]
        assert client.info("commandstats")["cmdstat_brpop"]["calls"] > 0  # it was used
    database.dispose()


def test_a_damaged_model_is_told_with_the_step_that_failed(tmp_path: Path, shipped_models: Path) -> None:
    models = tmp_path / "models"
    for bundle in find_bundles(shipped_models):
        shutil.copytree(bundle.folder, models / bundle.folder.relative_to(shipped_models))
    for network in models.rglob("model.tflite"):
        network.write_bytes(network.read_bytes()[:-1])
    code, document = selftest(tmp_path, FRACTURE_MODELS=str(models))
    assert code == 1
    assert "'start everything' failed" in document["error"]
    assert [step["ok"] for step in document["steps"]] == [False]
