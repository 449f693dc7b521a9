from __future__ import annotations

import shutil
from typing import Any, NamedTuple

import pytest

from core.home import prepare_home
from core.settings import Settings
from tests.unit.web_fixtures import Site
from web.app import create_app


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that answers."""
    monkeypatch.setattr("core.readiness.announced", lambda: 0)


def reasons(site: Site) -> list[str]:
    answer = site.client.get("/readyz")
    assert answer.status_code == 503
    document: dict[str, Any] = answer.get_json()
    assert document["status"] == "unavailable"
    return list(document["reasons"])


def test_the_process_lives_whatever_else_is_away(settings: Settings) -> None:
    app = create_app(settings)

    answer = app.test_client().get("/healthz")

    assert (answer.status_code, answer.json) == (200, {"status": "ok"})


@pytest.mark.usefixtures("broker")
def test_all_well_is_200(site: Site) -> None:
    answer = site.client.get("/readyz")

    assert answer.status_code == 200
    assert answer.json["status"] == "ready"
    assert set(answer.json["checks"].values()) == {True}


def test_a_broker_that_is_away_is_named(site: Site) -> None:
    # No environment names a broker, and nothing listens on the embedded one's socket.
    [reason] = reasons(site)

    assert "broker" in reason


@pytest.mark.usefixtures("broker")
def test_a_database_without_tables_is_named_once_and_not_made(settings: Settings) -> None:
    prepare_home(settings)
    app = create_app(settings)

    answer = app.test_client().get("/readyz")

    assert answer.status_code == 503
    assert answer.json["reasons"] == [
        "There is no database yet; `fracture-queue up` or `fracture-queue migrate` makes it."
    ]
    assert not (settings.home / "fracture.db").exists()


@pytest.mark.usefixtures("broker")
def test_a_database_of_another_revision_is_named_with_both(site: Site) -> None:
    with site.database.transaction() as session:
        session.connection().exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")

    [reason] = reasons(site)

    assert "9999" in reason
    assert "newer program" in reason


@pytest.mark.usefixtures("broker")
def test_no_active_model_is_named(settings: Settings) -> None:
    [reason] = reasons(Site(settings, model=False))

    assert "No model is active" in reason


@pytest.mark.usefixtures("broker")
def test_an_active_model_whose_bundle_is_gone_is_named(site: Site) -> None:
    with site.database.transaction() as session:
        session.connection().exec_driver_sql("UPDATE model_versions SET installed = 0")

    assert reasons(site) == ["The bundle of kind/1.0.0 is active but not installed."]


@pytest.mark.usefixtures("broker")
@pytest.mark.parametrize("folder", ["inbox", "processing", "done", "failed", "store"])
def test_a_missing_folder_is_named(site: Site, folder: str) -> None:
    (site.settings.home / folder).rmdir()

    [reason] = reasons(site)

    assert str(site.settings.home / folder) in reason
    (site.settings.home / folder).mkdir()
    assert site.client.get("/readyz").status_code == 200  # it is back


@pytest.mark.usefixtures("broker")
def test_a_full_disk_is_named(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage(NamedTuple):
        total: int
        used: int
        free: int

    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: Usage(1, 1, 50 * 2**20))

    [reason] = reasons(site)

    assert "50 MiB left" in reason
