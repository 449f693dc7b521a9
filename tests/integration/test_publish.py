"""Publish tiny binary runs, with and without folds, and hold card, README, report and evaluate to each other."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cli.commands.evaluate import evaluate
from cli.commands.publish import publish
from core.bundle import Bundle
from core.errors import ConfigurationError
from tests.tiny_runs import make_bundle, make_run
from training.folds import OutOfFold

# Keras 3.15 turns TensorFlow's variables into arrays in a way that NumPy 2 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


@pytest.fixture(scope="module")
def bundle(run_with_folds: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(run_with_folds, tmp_path_factory.mktemp("models"))


def judge(bundle: Bundle, bars: Path, *options: str) -> dict[str, Any]:
    arguments = [str(bundle.folder), "--data", str(bars), "--allow-leakage", "--format", "json", *options]
    return dict(json.loads(CliRunner().invoke(evaluate, arguments, catch_exceptions=False).stdout))


def test_a_run_with_folds_is_calibrated_on_its_out_of_fold_predictions(bundle: Bundle, run_with_folds: Path) -> None:
    card = bundle.card.document
    for section in ("calibration", "conformal", "doubt"):
        assert card[section]["fitted_on"] == "out-of-fold, 3 folds over train and valid"
        assert card[section]["images"] == 180
    assert card["decision"]["chosen_on"] == card["calibration"]["fitted_on"]
    assert list(card["metrics"]) == ["cross-validated", "test"]  # the network has learnt from valid
    found = card["metrics"]["cross-validated"]
    assert (found["images"], found["clusters"]) == (180, 90)
    assert OutOfFold.load(run_with_folds / "out-of-fold.npz").probabilities.shape == (180, 2)


def test_the_cards_thresholds_are_what_serving_reads(bundle: Bundle) -> None:
    card, document = bundle.card, bundle.card.document
    assert card.decision_threshold == document["decision"]["threshold"]
    assert card.doubt_band == (document["doubt"]["low"], document["doubt"]["high"])
    assert document["doubt"]["low"] <= document["decision"]["threshold"] <= document["doubt"]["high"]
    assert card.outlier_threshold == document["outlier"]["threshold"] > 0
    assert document["compiled"]["precision"] in ("float16", "float32")
    assert document["compiled"]["tried"][document["compiled"]["precision"]]["accepted"]
    assert set(document["outlier"]["noticed"]) >= {"blank", "noise", "text page", "photograph"}


def test_evaluate_repeats_the_card_to_the_last_digit(bundle: Bundle, bars: Path) -> None:
    found, card = judge(bundle, bars), bundle.card.document["metrics"]["test"]
    assert {name: found[name] for name in card} == card
    assert found["sensitivity"] is not None and found["roc_auc"] > 0.6


def test_subgroups_on_the_card_are_those_of_evaluate(bundle: Bundle, bars: Path) -> None:
    subgroups = bundle.card.document["subgroups"]
    assert judge(bundle, bars, "--by", "region")["by"] == {"column": "region", "groups": subgroups["by region"]}
    found = judge(bundle, bars, "--without", "hardware=1")
    assert found["left_out"] == [{"column": "hardware", "value": "1", "images": 5}]
    assert (found["images"], found["roc_auc"]) == (55, subgroups["without hardware = 1"]["roc_auc"])


def test_the_readme_says_what_the_figures_rest_on(bundle: Bundle) -> None:
    readme = (bundle.folder / "README.md").read_text()
    card = bundle.card.document
    for words in (
        "Research and education only",
        "inflated by leakage",
        "out-of-fold, 3 folds over train and valid",
        f"{card['metrics']['test']['roc_auc']:.4f}",
        f"{card['subgroups']['without hardware = 1']['roc_auc']:.4f}",
        "The label is `fractured` from a score of",
        "unlike-radiographs",
        "has been read once",
    ):
        assert words in readme, words
    assert card["leakage"]
    assert readme.index("inflated by leakage") < readme.index("## Figures")


@pytest.mark.parametrize(("form", "start"), [("html", "<!doctype html>"), ("markdown", "# fracture 1.0.0 on test")])
def test_a_report_is_one_file(form: str, start: str, bundle: Bundle, bars: Path, tmp_path: Path) -> None:
    path = tmp_path / "report"
    options = ["--data", str(bars), "--allow-leakage", "--format", form, "--by", "region"]
    result = CliRunner().invoke(evaluate, [str(bundle.folder), *options, "--output", str(path)], catch_exceptions=False)
    assert result.stdout == ""
    written = path.read_text()
    assert written.startswith(start)
    assert written.count("data:image/png;base64,") == 5
    assert "Research and education only" in written
    unwritable = CliRunner().invoke(
        evaluate, [str(bundle.folder), *options, "--output", str(tmp_path / "no" / "where")]
    )
    assert isinstance(unwritable.exception, ConfigurationError)


@pytest.mark.long
def test_a_run_without_folds_falls_back_to_valid_and_says_so(bars: Path, tmp_path: Path) -> None:
    plain = make_bundle(make_run(bars, tmp_path / "run"), tmp_path / "models", "--radiographs", str(bars))
    card = plain.card.document
    assert card["calibration"]["fitted_on"] == card["decision"]["chosen_on"] == "valid"
    assert list(card["metrics"]) == ["valid", "test"]
    assert [source["images"] for source in card["outlier"]["fitted_on"]] == [180, 180]
    assert "which had also chosen the epoch" in (plain.folder / "README.md").read_text()


def test_out_of_fold_predictions_of_other_images_are_refused(run_with_folds: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "run"
    shutil.copytree(run_with_folds, copy)
    found = OutOfFold.load(copy / "out-of-fold.npz")
    replace(found, sha256=("0" * 64, *found.sha256[1:])).save(copy / "out-of-fold.npz")
    result = CliRunner().invoke(publish, [str(copy), "--models", str(tmp_path / "models")])
    assert "about other images" in str(result.exception)
    (copy / "out-of-fold.npz").unlink()
    result = CliRunner().invoke(publish, [str(copy), "--models", str(tmp_path / "models")])
    assert "no out-of-fold predictions" in str(result.exception)
