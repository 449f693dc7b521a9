"""Fixtures for the tests of single parts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from core.settings import Settings
from tests.unit.desk import Clock
from tests.unit.web_fixtures import Site


@pytest.fixture
def site(settings: Settings) -> Iterator[Site]:
    """The web application on a new installation with one active model."""
    site = Site(settings)
    yield site
    site.database.dispose()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The inbox's clock, which a test moves."""
    clock = Clock()
    clock.stand_in(monkeypatch)
    return clock
