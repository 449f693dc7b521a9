"""Rates are limited on other addresses than loopback, for each user, token and address."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from core.settings import Settings
from core.tables import Role
from tests.unit.web_fixtures import Site


@pytest.fixture
def busy(settings: Settings) -> Iterator[Site]:
    site = Site(
        settings.with_changes(host="0.0.0.0", secret_key="chosen", reads_per_minute=6, writes_per_minute=2)  # noqa: S104
    )
    yield site
    site.database.dispose()


def test_who_asks_too_often_is_told_how_long_to_wait(busy: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    one, other = busy.add_token("one"), busy.add_token("other", Role.VIEWER)
    addresses = ("/api/v1/queue", "/results", "/nowhere", "/api/v1/models", "/queue", "/", "/api/v1/radiographs")
    answers = [busy.client.get(address, headers=one) for address in addresses * 2]

    # One count for all addresses. (A minute may end meanwhile, so not exactly how many.)
    refused = [answer for answer in answers if answer.status_code == 429]
    assert 0 < len(refused) < len(answers) - 5
    assert 0 < int(refused[-1].headers["Retry-After"]) <= 60
    refused_json = busy.client.get("/api/v1/queue", headers=one)
    if refused_json.status_code == 429:
        assert refused_json.json["code"] == "too-often"
        assert "More than 6 such requests in a minute" in refused_json.json["detail"]
    assert busy.client.get("/api/v1/queue", headers=other).status_code == 200
    assert "fq_" not in caplog.text


def test_writes_are_counted_apart_from_reads(busy: Site) -> None:
    one = busy.add_token("one")
    answers = [busy.client.post("/api/v1/radiographs", headers=one).status_code for _ in range(6)]

    assert answers[:2] == [422, 422]
    assert 429 in answers
    assert busy.client.get("/api/v1/queue", headers=one).status_code == 200


def test_strangers_are_counted_by_their_address(busy: Site) -> None:
    answers = [busy.client.get("/api/v1/queue").status_code for _ in range(14)]

    assert set(answers) == {401, 429}
    assert busy.client.get("/api/v1/queue", headers=busy.add_token("one")).status_code == 200
    assert busy.client.get("/healthz").status_code in (200, 429)


def test_nothing_is_limited_on_this_machine_alone(settings: Settings) -> None:
    site = Site(settings.with_changes(reads_per_minute=1, writes_per_minute=1))
    try:
        assert {site.client.get("/api/v1/queue").status_code for _ in range(5)} == {200}
        site.add_user("anna")
        program = site.add_token("one")
        assert {site.client.get("/api/v1/queue", headers=program).status_code for _ in range(5)} == {200}
    finally:
        site.database.dispose()


def test_zero_is_no_limit(settings: Settings) -> None:
    site = Site(settings.with_changes(host="0.0.0.0", secret_key="chosen", reads_per_minute=0, writes_per_minute=1))  # noqa: S104
    try:
        program = site.add_token("one")
        assert {site.client.get("/api/v1/queue", headers=program).status_code for _ in range(5)} == {200}
    finally:
        site.database.dispose()
