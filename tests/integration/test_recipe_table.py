"""The table of recipes, from the folder of a run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from cli.commands.train import train
from training.labels import TASK_LABELS
from training.recipe_table import as_markdown, main
from training.run_folder import RunFolder

# Keras 3.15 turns TensorFlow's variables into arrays in a way that NumPy 2 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


def test_a_run_becomes_a_row_and_its_test_split_is_read_once(tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    for split, count in (("train", 2), ("valid", 1), ("test", 1)):
        for label in TASK_LABELS["fracture"]:
            folder = tmp_path / "data" / split / label
            folder.mkdir(parents=True)
            for number in range(count):
                levels = generator.integers(0, 255, (40, 40), dtype=np.uint8)
                Image.fromarray(levels).save(folder / f"{number}.png")
    line = ["mobilenetv2-binary", "--data", str(tmp_path / "data"), "--weights", "none", "--image-size", "32"]
    run = tmp_path / "run"
    CliRunner().invoke(train, [*line, "--epochs", "2", "--run", str(run)], catch_exceptions=False)

    shown = [CliRunner().invoke(main, [str(run)], catch_exceptions=False).stdout for _ in range(2)]

    assert shown[0] == shown[1]
    assert RunFolder.open(run).test_reads == 1
    head, _, row = (line.split("|")[1:-1] for line in shown[0].strip().splitlines())
    cells = {name.strip(): cell.strip() for name, cell in zip(head, row, strict=True)}
    assert (cells["recipe"], cells["px"], cells["data"]) == ("mobilenetv2-binary", "32", "leak-free")
    figures = json.loads((run / "figures.json").read_text())
    assert figures["test"]["images"] == 2
    assert cells["test accuracy"] == f"{figures['test']['accuracy']:.3f}"
    assert cells["test ROC AUC"] == f"{figures['test']['roc_auc']:.3f}"


def test_a_figure_that_a_row_lacks_is_a_dash() -> None:
    table = as_markdown([{"recipe": "one", "px": "32"}, {"recipe": "two", "test ROC AUC": "0.9"}])
    assert table.splitlines()[2:] == ["| one | 32 | - |", "| two | - | 0.9 |"]
