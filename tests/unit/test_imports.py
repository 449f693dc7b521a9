"""What must not load: each entry point in an interpreter of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.database import Database
from core.schema import migrate
from core.settings import Settings
from tests.conftest import PROJECT

NETWORKS = {"tensorflow", "keras", "ai_edge_litert"}
WEB = {"flask", "waitress"}
CORE = sorted(
    ".".join(path.relative_to(PROJECT).with_suffix("").parts)
    for path in (PROJECT / "core").rglob("*.py")
    if path.name != "__init__.py" and path.parent.name != "engines"
)


def loaded_by(program: str, **environment: str) -> set[str]:
    """Return the top-level modules that a program has loaded in the end."""
    outside = {name: value for name, value in os.environ.items() if not name.startswith("FRACTURE_")}
    program += "\nimport json, sys\nprint(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=PROJECT,
        env={**outside, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_the_core_loads_neither_a_network_nor_a_sibling() -> None:
    loaded = loaded_by(f"import {', '.join([*CORE, 'core.engines.protocol'])}")
    assert "sqlalchemy" in loaded
    assert loaded & (NETWORKS | WEB | {"worker", "web", "training", "cli", "watchdog", "pynetdicom"}) == set()


@pytest.mark.parametrize(
    ("modules", "unwanted"),
    [
        ("cli.main", NETWORKS | WEB | {"sqlalchemy", "celery", "PIL", "numpy", "training", "worker", "web"}),
        ("worker.tasks, worker.main", NETWORKS | WEB | {"web", "training", "watchdog", "pynetdicom"}),
        ("worker.inbox_loop", NETWORKS | WEB | {"web", "training", "pynetdicom"}),
        ("worker.dicom.role", NETWORKS | WEB | {"web", "training", "watchdog"}),
        ("worker.supervisor", NETWORKS | WEB | {"web", "training", "celery", "sqlalchemy"}),
        ("web.app", NETWORKS | {"worker", "training", "watchdog", "pynetdicom"}),
    ],
)
def test_an_entry_point_loads_only_what_it_needs(modules: str, unwanted: set[str]) -> None:
    assert loaded_by(f"import {modules}") & unwanted == set()


def test_listing_results_loads_no_network(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    database = Database(settings.database_url)
    migrate(database)
    database.dispose()
    program = """
from cli.main import fracture_queue
fracture_queue.main(["results", "--format", "json"], standalone_mode=False)
"""
    loaded = loaded_by(program, FRACTURE_HOME=str(tmp_path))
    assert "sqlalchemy" in loaded
    assert loaded & (NETWORKS | WEB | {"worker", "web", "training", "celery"}) == set()


def test_a_worker_process_loads_no_network_before_its_first_job(tmp_path: Path) -> None:
    program = """
import os
from core.settings import Settings
from worker.context import WorkerContext
WorkerContext.of(Settings.from_env(os.environ))
"""
    assert loaded_by(program, FRACTURE_HOME=str(tmp_path)) & (NETWORKS | WEB) == set()
