"""Real services for tests of several parts together."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.parts import Installation, RedisServer


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
