"""What docs/extending.md walks past is there, and the three walks still lead where it says."""

from __future__ import annotations

import re

import pytest

from cli.main import COMMANDS
from core.settings import ENGINES
from tests.conftest import PROJECT

TEXT = (PROJECT / "docs" / "extending.md").read_text(encoding="utf-8")
#: What a walk makes is not there before.
MADE = {"core/engines/openvino.py", "training/recipes/tiny.py", "migrations/versions/0011_channels.py"}
PATHS = sorted({word.rstrip("/") for word in re.findall(r"`([\w.-]+/[\w./-]+|[A-Z]+\.md|pyproject\.toml)`", TEXT)})
#: A name to the file that has it.
NAMES = {
    "Classifier": "core/engines/protocol.py",
    "load_classifier": "core/engines/protocol.py",
    "find_outputs": "core/engines/outputs.py",
    "ModelMismatch": "core/errors.py",
    "ENGINES": "core/settings.py",
    "--engine": "cli/commands/evaluate.py",
    "Recipe": "training/recipe.py",
    "RECIPES": "training/recipes/cnn.py",
    "probabilities": "training/heads.py",
    "test_a_network_compiles_to_the_same_answers": "tests/integration/test_recipes.py",
    "TASKS": "core/bundle.py",
    "Frame": "core/pictures.py",
    "RadiographFacts": "core/records/details.py",
    "test_a_claim_finds_its_jobs_in_the_index_and_sorts_nothing": "tests/unit/test_schema.py",
}


def test_the_walks_name_files() -> None:
    assert len(PATHS) > 30
    assert set(PATHS) >= MADE | {"core/settings.py", "README.md", "pyproject.toml"}


@pytest.mark.parametrize("path", [path for path in PATHS if path not in MADE])
def test_every_file_on_the_way_exists(path: str) -> None:
    assert (PROJECT / path).exists()


@pytest.mark.parametrize("path", sorted(MADE))
def test_what_a_walk_makes_has_a_place(path: str) -> None:
    assert (PROJECT / path).parent.is_dir()


@pytest.mark.parametrize("name", NAMES)
def test_every_name_on_the_way_is_where_the_walk_says(name: str) -> None:
    assert f"`{name}`" in TEXT
    assert NAMES[name] in TEXT or name == "ModelMismatch"
    assert re.search(rf"(?<![\w]){re.escape(name)}(?!\w)", (PROJECT / NAMES[name]).read_text(encoding="utf-8"))


def test_engines_and_recipes_are_found_where_the_walks_say() -> None:
    protocol = (PROJECT / "core/engines/protocol.py").read_text(encoding="utf-8")
    for engine in ENGINES:
        assert (PROJECT / "core" / "engines" / f"{engine}.py").is_file()
        assert f'if engine == "{engine}"' in protocol
    registry = (PROJECT / "training/recipes/registry.py").read_text(encoding="utf-8")
    families = {path.stem for path in (PROJECT / "training" / "recipes").glob("*.py")} - {"__init__", "registry"}
    named = re.search(r"for family in \(([\w, ]+)\)", registry)
    assert named is not None
    assert set(named[1].split(", ")) <= families


def test_every_command_and_make_target_in_the_walks_exists() -> None:
    assert set(re.findall(r"fracture-queue ([a-z-]+)", TEXT)) <= set(COMMANDS)
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"`make ([a-z-]+)`", TEXT)):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
