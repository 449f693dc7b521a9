"""The table of recipes, from the folder of a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.tiny_runs import make_run
from training.recipe_pages import as_markdown
from training.recipe_table import main
from training.run_folder import RunFolder

# Keras 3.15 turns TensorFlow's variables into arrays in a way that NumPy 2 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


def test_a_run_becomes_a_row_and_its_test_split_is_read_once(bars: Path, tmp_path: Path) -> None:
    run = make_run(bars, tmp_path / "run", "--epochs", "1")

    record = tmp_path / "recipes.json"
    asked = (["--record", str(record), str(run)], ["--record", str(record), str(run)], ["--record", str(record)])
    shown = [CliRunner().invoke(main, arguments, catch_exceptions=False).stdout for arguments in asked]

    # The second time from the run's folder, the third from the record alone.
    assert shown[0] == shown[1] == shown[2]
    assert RunFolder.open(run).test_reads == 1
    head, _, row = (line.split("|")[1:-1] for line in shown[0].splitlines() if line.startswith("|"))
    cells = {name.strip(): cell.strip() for name, cell in zip(head, row, strict=True)}
    # The bars are so much alike that they count as copies.
    assert (cells["recipe"], cells["px"], cells["begins with"]) == ("tiny-binary", "32", "nothing")
    assert json.loads(record.read_text())["run"]["split"] == "given, leaky"
    assert "\n    fracture-queue train tiny-binary --data " in shown[0]
    figures = json.loads((run / "figures.json").read_text())
    assert figures["test"]["images"] == 60
    low, high = figures["test"]["intervals"]["roc_auc"]
    assert low < figures["test"]["roc_auc"] < high
    assert cells["test ROC AUC"] == f"{figures['test']['roc_auc']:.3f} ({low:.2f} to {high:.2f})"


def test_a_figure_that_a_row_lacks_is_a_dash() -> None:
    table = as_markdown([{"recipe": "one", "px": "32"}, {"recipe": "two", "test ROC AUC": "0.9"}])
    assert table.splitlines()[2:] == ["| one | 32 | - |", "| two | - | 0.9 |"]
