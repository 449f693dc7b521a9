from pathlib import Path

import pytest

from core.bundle import find_bundles
from core.database import Database
from core.errors import ModelMismatch, ModelNotFound, NotFound
from core.records.models import ModelVersion, active_models, list_models, register_bundles, set_active
from core.settings import Settings
from tests.fakes import event_kinds, write_bundle
from worker.main import register_installed


def register(database: Database, models: Path) -> list[ModelVersion]:
    with database.transaction() as session:
        return register_bundles(session, find_bundles(models), "test")


def active(database: Database) -> list[str]:
    with database.reading() as session:
        return [version.full_name for version in active_models(session)]


def activate(database: Database, name: str, active: bool = True) -> ModelVersion:
    with database.transaction() as session:
        return set_active(session, name, active=active, actor="test")


@pytest.fixture
def models(tmp_path: Path) -> Path:
    for version in ("1.9.0", "1.10.0"):
        write_bundle(tmp_path / "models", version=version)
    return tmp_path / "models"


def test_of_a_new_name_the_newest_version_is_activated(database: Database, models: Path) -> None:
    assert [version.full_name for version in register(database, models)] == [
        "fracture-types/1.9.0",
        "fracture-types/1.10.0",
    ]
    assert active(database) == ["fracture-types/1.10.0"]
    assert event_kinds(database) == ["activated"]


def test_registering_again_changes_nothing(database: Database, models: Path) -> None:
    assert register(database, models) == register(database, models)
    assert event_kinds(database) == ["activated"]


def test_a_persons_choice_stays_when_a_newer_version_comes(database: Database, models: Path) -> None:
    register(database, models)
    activate(database, "fracture-types/1.9.0")
    write_bundle(models, version="2.0.0")
    register(database, models)
    assert active(database) == ["fracture-types/1.9.0"]
    activate(database, "fracture-types", active=False)
    register(database, models)
    assert active(database) == []


def test_an_active_version_whose_bundle_is_gone_gives_way_to_the_newest_installed(
    database: Database, models: Path
) -> None:
    register(database, models)
    (models / "fracture-types" / "1.10.0" / "card.json").unlink()
    versions = {version.version: version for version in register(database, models)}
    assert (versions["1.10.0"].installed, versions["1.10.0"].active) == (False, False)
    assert active(database) == ["fracture-types/1.9.0"]


def test_a_new_installation_begins_with_the_shipped_model_of_each_task(database: Database, models: Path) -> None:
    write_bundle(models, name="a-slow-teacher")
    write_bundle(models, name="fracture", task="fracture")
    write_bundle(models, name="an-imported-one", task="fracture")
    register(database, models)
    assert active(database) == ["fracture/1.0.0", "fracture-types/1.10.0"]


def test_a_model_that_comes_later_waits_to_be_activated(database: Database, models: Path) -> None:
    register(database, models)
    write_bundle(models, name="fracture", task="fracture")
    register(database, models)
    assert active(database) == ["fracture-types/1.10.0"]
    activate(database, "fracture")
    assert active(database) == ["fracture/1.0.0", "fracture-types/1.10.0"]


def test_one_version_of_each_name_is_active(database: Database, models: Path) -> None:
    write_bundle(models, name="binary", task="fracture")
    register(database, models)
    assert active(database) == ["binary/1.0.0", "fracture-types/1.10.0"]
    assert activate(database, "fracture-types/1.9.0").version == "1.9.0"
    assert active(database) == ["binary/1.0.0", "fracture-types/1.9.0"]
    assert activate(database, "fracture-types").version == "1.10.0"


def test_an_unknown_model_is_refused_with_those_that_are_known(database: Database, models: Path) -> None:
    register(database, models)
    for name in ("spiral-types", "fracture-types/3.0.0"):
        with pytest.raises(NotFound, match=r"known: fracture-types/1.9.0, fracture-types/1.10.0"):
            activate(database, name)
    (models / "fracture-types" / "1.9.0" / "card.json").unlink()
    register(database, models)
    with pytest.raises(NotFound, match="is not installed here"):
        activate(database, "fracture-types/1.9.0")


def test_a_worker_does_not_start_with_a_damaged_active_model(
    settings: Settings, database: Database, models: Path
) -> None:
    ours = settings.with_changes(models=models)
    assert [bundle.card.version for bundle in register_installed(ours, database, "test")] == ["1.10.0"]
    (models / "fracture-types" / "1.9.0" / "model.keras").write_bytes(b"not active: no matter")
    register_installed(ours, database, "test")
    (models / "fracture-types" / "1.10.0" / "model.keras").write_bytes(b"another")
    with pytest.raises(ModelMismatch, match=r"model.keras differs from its card"):
        register_installed(ours, database, "test")


def test_a_worker_does_not_start_without_any_active_model_installed(
    settings: Settings, database: Database, models: Path, tmp_path: Path
) -> None:
    register(database, models)
    write_bundle(tmp_path / "others", name="another")
    with database.transaction() as session:
        register_bundles(session, find_bundles(tmp_path / "others"), "test")
    assert active(database) == ["fracture-types/1.10.0"]
    with database.reading() as session:
        assert [version.full_name for version in list_models(session) if version.installed] == ["another/1.0.0"]
    with pytest.raises(ModelNotFound, match=r"None of the active models \(fracture-types/1.10.0\) is installed"):
        register_installed(settings.with_changes(models=tmp_path / "others"), database, "test")
    with pytest.raises(ModelNotFound, match="There is no model bundle"):
        register_installed(settings.with_changes(models=tmp_path / "nowhere"), database, "test")
