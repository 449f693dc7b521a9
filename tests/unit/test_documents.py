"""README, Dockerfile and compose file agree with the code."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.main import COMMANDS
from core.settings import PREFIX, SECRET_FILES, Settings
from core.settings_table import settings_table
from tests.conftest import PROJECT
from tests.licences import DOCUMENT, licence, licences_document, locked
from tests.write_tables import recipe_tables

VARIABLES = {PREFIX + setting.name.upper() for setting in fields(Settings)}


def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())
    return document


def test_the_readme_holds_the_settings_table() -> None:
    readme = (PROJECT / "README.md").read_text()

    assert settings_table() in readme, "run `make docs`"


def test_the_models_page_holds_the_tables_of_the_record() -> None:
    assert recipe_tables() in (PROJECT / "docs" / "models.md").read_text(), "run `make docs`"


def test_every_command_in_the_readme_exists() -> None:
    readme = (PROJECT / "README.md").read_text()

    named = set(re.findall(r"fracture-queue ([a-z]+(?:-[a-z]+)*)", readme))

    assert named <= set(COMMANDS)
    assert {"up", "submit", "classify", "results", "queue", "retry", "check", "train", "evaluate", "publish"} <= named


def ours() -> dict[str, Any]:
    """The services that run this program."""
    return {name: service for name, service in compose()["services"].items() if "build" in service}


def test_every_role_in_the_compose_file_is_a_command_and_has_an_image_of_its_own() -> None:
    stages = set(re.findall(r"^FROM \S+ AS (\S+)$", (PROJECT / "Dockerfile").read_text(), flags=re.MULTILINE))
    assert ours().keys() == {"migrate", "web", "inbox", "worker", "worker-gpu", "beat", "dicom", "flower"}
    for name, service in ours().items():
        assert service["build"]["target"] == name
        assert name in stages
        assert service["read_only"], name
        if name != "flower":
            assert service["command"] == [name.removesuffix("-gpu")]
            assert service["command"][0] in COMMANDS


def test_every_role_that_stays_says_whether_it_is_well() -> None:
    text = (PROJECT / "Dockerfile").read_text()
    asked = re.findall(r'^HEALTHCHECK .*"health", "(\w+)"\]$\nCMD \["(\w+)"\]', text, flags=re.MULTILINE)
    assert asked == [(role, role) for role in ("beat", "inbox", "dicom", "web", "worker", "worker")]


def test_every_variable_in_compose_and_dockerfile_is_a_setting() -> None:
    for name in ("docker-compose.yml", "Dockerfile", ".env.example"):
        text = (PROJECT / name).read_text()
        assert set(re.findall(r"FRACTURE_[A-Z_]+", text)) <= VARIABLES | set(SECRET_FILES), name


def test_every_secret_of_the_compose_file_is_made_by_the_script(tmp_path: Path) -> None:
    (tmp_path / "deploy").mkdir()
    script = shutil.copy(PROJECT / "deploy" / "secrets.sh", tmp_path / "deploy")
    for _ in range(2):  # the second time changes nothing
        subprocess.run(["bash", script], check=True, capture_output=True)
        made = {file.name: file.read_text() for file in (tmp_path / "secrets").iterdir()}
    assert set(compose()["secrets"]) | {"prometheus_token"} == set(made)
    for name, secret in compose()["secrets"].items():
        assert secret["file"] == f"secrets/{name}"
        assert len(made[name]) >= (0 if name.startswith("store_") else 32)  # a bucket's keys come from its keeper
    settings = Settings(database_url=made["database_url"], broker_url=made["broker_url"], secret_key=made["secret_key"])
    assert made["postgres_password"] not in repr(settings)
    assert (tmp_path / "secrets").stat().st_mode & 0o077 == 0


LOCKED = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[a-z,]+\])?==([^ ;]+)", flags=re.MULTILINE)


@pytest.mark.parametrize("role", ["base", "build", "dicom", "embedded", "flower", "gpu", "inbox", "web", "worker"])
def test_a_role_is_locked_to_the_versions_that_are_tested(role: str) -> None:
    text = (PROJECT / "requirements" / f"{role}.lock").read_text()
    tested = dict(LOCKED.findall((PROJECT / "requirements" / "dev.lock").read_text()))
    locked = dict(LOCKED.findall(text))
    untested = {name for name, version in locked.items() if tested.get(name) != version}
    if role == "gpu":  # the libraries of the card, which nothing else needs
        untested = {name for name in untested if not name.startswith("nvidia-")}
    assert not untested
    assert "://" not in text
    assert text.count("--hash=sha256:") >= len(locked)


def test_every_variable_that_compose_needs_is_in_the_example() -> None:
    needed = set(re.findall(r"\$\{([A-Z_]+)", (PROJECT / "docker-compose.yml").read_text()))
    given = set(re.findall(r"^([A-Z_]+)=", (PROJECT / ".env.example").read_text(), flags=re.MULTILINE))

    assert needed == given


@pytest.mark.parametrize("role", ["worker", "dicom"])
def test_a_role_in_compose_has_longer_to_stop_than_it_takes(role: str) -> None:
    grace = int(compose()["services"][role]["stop_grace_period"].removesuffix("s"))

    assert grace > Settings().stop_seconds


def test_the_image_is_built_from_files_that_exist() -> None:
    for line in (PROJECT / "Dockerfile").read_text().splitlines():
        if line.startswith("COPY ") and "--from" not in line:
            for source in line.split()[1:-1]:
                assert (PROJECT / source).exists(), source


def test_pictures_in_the_documents_are_there_described_and_small() -> None:
    named = re.findall(r"!\[(.*?)\]\((.*?)\)", (PROJECT / "README.md").read_text())
    listed = set(re.findall(r"`([a-z-]+\.webp)`", (PROJECT / "docs" / "screenshots" / "README.md").read_text()))
    kept = {path.name: path for path in (PROJECT / "docs" / "screenshots").glob("*.webp")}

    assert len(named) == 2
    for words, place in named:
        assert words
        assert (PROJECT / place).is_file(), place
    assert listed == set(kept)
    assert all(path.stat().st_size < 200_000 for path in kept.values())


ROLES = ("web", "inbox", "worker", "beat")
UNITS = sorted((PROJECT / "docs" / "deploy").glob("fracture-queue*"))


def test_every_unit_runs_a_command_that_exists_with_variables_that_exist() -> None:
    run = {unit.name: re.findall(r"^ExecStart=\S+/fracture-queue (\S+)", unit.read_text(), re.M) for unit in UNITS}
    services = {name: commands for name, commands in run.items() if name.endswith(".service")}

    assert services == {f"fracture-queue-{name}.service": [name] for name in (*ROLES, "dicom", "migrate", "backup")}
    assert {*ROLES, "dicom", "migrate", "backup"} <= set(COMMANDS)
    for name in ROLES:
        assert f"fracture-queue-{name}.service" in (PROJECT / "docs/deploy/fracture-queue.target").read_text()
    environment = (PROJECT / "docs/deploy/environment").read_text()
    assert set(re.findall(r"FRACTURE_[A-Z_]+", environment)) <= VARIABLES


@pytest.mark.long
def test_systemd_understands_the_units(tmp_path: Path) -> None:
    tool = shutil.which("systemd-analyze")
    if tool is None:
        pytest.skip("systemd-analyze is not installed")
    for unit in UNITS:  # it looks for the commands themselves
        (tmp_path / unit.name).write_text(
            re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", unit.read_text(), flags=re.M)
        )
    done = subprocess.run(
        [tool, "verify", "--man=no", "--recursive-errors=no", *sorted(str(path) for path in tmp_path.iterdir())],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("role", ["worker", "dicom"])
def test_a_unit_has_longer_to_stop_than_its_role_takes(role: str) -> None:
    unit = (PROJECT / f"docs/deploy/fracture-queue-{role}.service").read_text()
    grace = int(re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.M)[0])

    assert grace > Settings().stop_seconds


def test_the_licences_of_all_locked_packages_are_written_down() -> None:
    written = set(DOCUMENT.read_text(encoding="utf-8").splitlines())
    rows = [line for line in licences_document().splitlines() if line.startswith("| ")]

    assert [row for row in rows if row not in written] == [], "run `make docs`"


def test_nothing_that_an_installation_runs_is_under_the_gpl() -> None:
    words = {package: licence(package) or "" for package in locked("embedded")}

    assert len(words) > 40
    assert "not stated" not in words.values()
    assert [name for name, said in words.items() if re.search(r"\bA?GPL|Affero|GNU General", said)] == []
