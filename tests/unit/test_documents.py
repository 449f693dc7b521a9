"""README, Dockerfile and compose file agree with the code."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any

import yaml

from cli.main import COMMANDS
from core.settings import PREFIX, Settings
from core.settings_table import settings_table
from tests.conftest import PROJECT

VARIABLES = {PREFIX + setting.name.upper() for setting in fields(Settings)}


def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())
    return document


def test_the_readme_holds_the_settings_table() -> None:
    readme = (PROJECT / "README.md").read_text()

    assert settings_table() in readme, "run `make docs`"


def test_every_command_in_the_readme_exists() -> None:
    readme = (PROJECT / "README.md").read_text()

    named = set(re.findall(r"fracture-queue ([a-z]+)", readme))

    assert named <= set(COMMANDS)
    assert {"up", "submit", "classify", "results", "queue", "retry", "check", "train", "evaluate", "publish"} <= named


def test_every_role_in_the_compose_file_is_a_command() -> None:
    ours = {name: service for name, service in compose()["services"].items() if service["image"] == "fracture-queue"}

    assert ours.keys() == {"migrate", "web", "inbox", "worker", "beat"}
    for name, service in ours.items():
        assert service["command"] == [name]
        assert name in COMMANDS


def test_every_variable_in_compose_and_dockerfile_is_a_setting() -> None:
    for name in ("docker-compose.yml", "Dockerfile", ".env.example"):
        text = (PROJECT / name).read_text()
        assert set(re.findall(r"FRACTURE_[A-Z_]+", text)) <= VARIABLES, name


def test_every_variable_that_compose_needs_is_in_the_example() -> None:
    needed = set(re.findall(r"\$\{([A-Z_]+)", (PROJECT / "docker-compose.yml").read_text()))
    given = set(re.findall(r"^([A-Z_]+)=", (PROJECT / ".env.example").read_text(), flags=re.MULTILINE))

    assert needed == given


def test_a_worker_in_compose_has_longer_to_stop_than_it_takes() -> None:
    grace = int(compose()["services"]["worker"]["stop_grace_period"].removesuffix("s"))

    assert grace > Settings().stop_seconds


def test_the_image_is_built_from_files_that_exist() -> None:
    for line in (PROJECT / "Dockerfile").read_text().splitlines():
        if line.startswith("COPY ") and "--from" not in line:
            for source in line.split()[1:-1]:
                assert (PROJECT / source).exists(), source
