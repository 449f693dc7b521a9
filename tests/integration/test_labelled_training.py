"""What readers said is exported and a network learns from it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import PROJECT
from tests.unit.conftest import site
from tests.unit.test_labelled_export import limb, read
from tests.unit.web_fixtures import Site

pytestmark = pytest.mark.long
__all__ = ["read", "site"]


def test_an_epoch_of_the_smallest_recipe_on_exported_labels(
    site: Site, read: Callable[..., None], tmp_path: Path
) -> None:
    for start, label in ((0, "spiral"), (20, "oblique")):
        read(*(limb(seed) for seed in range(start, start + 12)), label=label)
    fracture_queue("export", tmp_path / "reviewed")
    options = ("--data", tmp_path / "reviewed", "--run", tmp_path / "run", "--weights", "none")
    fracture_queue("train", "cnn", *options, "--epochs", "1", "--image-size", "32", "--batch-size", "8")
    assert (tmp_path / "run" / "run.json").is_file()


def fracture_queue(*arguments: object) -> None:
    command = [sys.executable, "-m", "cli.main", *(str(each) for each in arguments)]
    ran = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=280, check=False)
    assert ran.returncode == 0, ran.stderr
