"""Real services for tests of several parts together."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.parts import Installation, RedisServer
from tests.tiny_runs import TINY, draw_bars, make_run
from training.recipes.registry import RECIPES


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    """A Redis of the test's own: it may be killed."""
    server = RedisServer()
    server.start()
    yield server
    server.remove()


@pytest.fixture
def installation(tmp_path: Path, database_url: str, redis: RedisServer, shipped_models: Path) -> Iterator[Installation]:
    """An installation with the shipped model; no process runs yet."""
    made = Installation(tmp_path / "home", database_url, redis, shipped_models)
    yield made
    made.close()


@pytest.fixture(scope="session")
def tiny_recipe() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(RECIPES, TINY.name, TINY)
        yield


@pytest.fixture(scope="session")
def bars(tmp_path_factory: pytest.TempPathFactory, tiny_recipe: None) -> Path:
    folder = tmp_path_factory.mktemp("bars")
    draw_bars(folder)
    return folder


@pytest.fixture(scope="session")
def run_with_folds(bars: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(bars, tmp_path_factory.mktemp("runs") / "folds", "--folds", "3")
