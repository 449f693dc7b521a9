"""Publish tiny binary runs, with and without folds, and hold card, README, report and evaluate to each other."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from cli.commands.ensemble import ensemble
from cli.commands.evaluate import evaluate
from cli.commands.publish import publish
from cli.commands.train import train
from core.bundle import Bundle
from core.errors import ConfigurationError
from training.ensemble import average_runs
from training.folds import OutOfFold
from training.heads import pooled_head
from training.recipe import Phase
from training.recipes.registry import RECIPES, find_recipe
from training.run_folder import RunFolder

# Keras 3.15 turns TensorFlow's variables into arrays in a way that NumPy 2 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

COUNTS = {"train": 120, "valid": 60, "test": 60}


def build(side: int, classes: int, weights: str) -> Any:
    """Two convolutions; nothing is ever loaded."""
    import keras

    entry = keras.Input((side, side, 1), dtype="uint8")
    features = keras.layers.Rescaling(1 / 255)(entry)
    for width in (8, 16):
        features = keras.layers.Conv2D(width, 3, strides=2, activation="relu")(features)
    return keras.Model(entry, pooled_head(features, classes=classes, dropout=0.0))


TINY = replace(
    find_recipe("mobilenetv2-binary"),
    name="tiny-binary",
    title="A tiny binary network",
    side=32,
    batch_size=20,
    phases=(Phase("only", 4, 2e-2, None),),
    patience=4,
    build=build,
)


@pytest.fixture(scope="module", autouse=True)
def tiny_recipe() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(RECIPES, TINY.name, TINY)
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bars on black; a fractured one has, mostly, a gap. With region and hardware, as in fracture-binary."""
    folder = tmp_path_factory.mktemp("binary")
    generator = np.random.default_rng(0)
    rows = []
    for split, count in COUNTS.items():
        for number in range(count):
            fractured, name = number % 3 == 0, f"{split}-{number}.png"
            levels = generator.normal(20, 6, (40, 40))
            top, width = generator.integers(8, 24), generator.integers(5, 10)
            levels[top : top + width] += generator.uniform(120, 200)
            gap = fractured if generator.random() < 0.85 else not fractured
            if gap:
                left = generator.integers(8, 24)
                levels[:, left : left + 8] = generator.normal(20, 6, (40, 8))
            Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8)).save(folder / name)
            rows.append(
                {
                    "path": name,
                    "class": "fractured" if fractured else "not_fractured",
                    "split": split,
                    "cluster_id": f"{split}-{number // 2}",
                    "region": ("hand", "leg")[number % 2],
                    "hardware": int(fractured and number % 4 == 0),
                }
            )
    with (folder / "MANIFEST.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder


def make_run(data: Path, run: Path, *options: str) -> Path:
    # All bars are much alike, as near-duplicates are.
    asked = ["--data", str(data), "--weights", "none", "--run", str(run), "--allow-leakage", *options]
    CliRunner().invoke(train, [TINY.name, *asked], catch_exceptions=False)
    return run


def make_bundle(run: Path, models: Path, *options: str) -> Bundle:
    result = CliRunner().invoke(publish, [str(run), "--models", str(models), *options], catch_exceptions=False)
    assert "Published fracture 1.0.0" in result.stdout
    return Bundle.open(models / "fracture" / "1.0.0")


@pytest.fixture(scope="module")
def run_with_folds(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(data, tmp_path_factory.mktemp("runs") / "folds", "--folds", "3")


@pytest.fixture(scope="module")
def bundle(run_with_folds: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(run_with_folds, tmp_path_factory.mktemp("models"))


def judge(bundle: Bundle, data: Path, *options: str) -> dict[str, Any]:
    arguments = [str(bundle.folder), "--data", str(data), "--allow-leakage", "--format", "json", *options]
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
    assert card.doubt_band[0] <= card.decision_threshold <= card.doubt_band[1]
    assert card.outlier_threshold == document["outlier"]["threshold"] > 0
    assert document["compiled"]["precision"] in ("float16", "float32")
    assert document["compiled"]["tried"][document["compiled"]["precision"]]["accepted"]
    assert set(document["outlier"]["noticed"]) >= {"blank", "noise", "text page", "photograph"}


def test_evaluate_repeats_the_card_to_the_last_digit(bundle: Bundle, data: Path) -> None:
    found, card = judge(bundle, data), bundle.card.document["metrics"]["test"]
    assert {name: found[name] for name in card} == card
    assert found["sensitivity"] is not None and found["roc_auc"] > 0.6


def test_subgroups_on_the_card_are_those_of_evaluate(bundle: Bundle, data: Path) -> None:
    subgroups = bundle.card.document["subgroups"]
    assert judge(bundle, data, "--by", "region")["by"] == {"column": "region", "groups": subgroups["by region"]}
    found = judge(bundle, data, "--without", "hardware=1")
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
def test_a_report_is_one_file(form: str, start: str, bundle: Bundle, data: Path, tmp_path: Path) -> None:
    path = tmp_path / "report"
    options = ["--data", str(data), "--allow-leakage", "--format", form, "--by", "region"]
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


def test_a_run_without_folds_falls_back_to_valid_and_says_so(data: Path, tmp_path: Path) -> None:
    plain = make_bundle(make_run(data, tmp_path / "run"), tmp_path / "models", "--radiographs", str(data))
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


def answers_of(run: Path) -> Any:
    import keras

    pictures = np.random.default_rng(5).integers(0, 256, (6, 32, 32, 1), dtype=np.uint8)
    model = keras.saving.load_model(RunFolder.open(run).best_file, compile=False, safe_mode=True)
    return model.predict(pictures, verbose=0)


def test_an_ensemble_answers_with_the_mean_and_is_published_like_a_run(
    data: Path, run_with_folds: Path, tmp_path: Path
) -> None:
    other = make_run(data, tmp_path / "other", "--folds", "3", "--seed", "1")
    both = tmp_path / "both"
    told = (
        CliRunner()
        .invoke(ensemble, [str(run_with_folds), str(other), "--run", str(both)], catch_exceptions=False)
        .stdout
    )
    assert "average of 2 networks (tiny-binary, tiny-binary)" in told
    assert "Cross-validated, 180 images: accuracy" in told
    assert answers_of(both) == pytest.approx((answers_of(run_with_folds) + answers_of(other)) / 2, abs=1e-6)
    predictions = [OutOfFold.load(run / "out-of-fold.npz").probabilities for run in (run_with_folds, other, both)]
    assert predictions[2] == pytest.approx((predictions[0] + predictions[1]) / 2)

    card = make_bundle(both, tmp_path / "models").card.document
    assert card["calibration"]["fitted_on"] == "out-of-fold, 3 folds over train and valid"
    assert [member["seed"] for member in card["recipe"]["members"]] == [0, 1]
    assert card["backbone_weights"]["name"] == "none"


def test_runs_that_do_not_fit_together_are_not_averaged(data: Path, run_with_folds: Path, tmp_path: Path) -> None:
    plain = make_run(data, tmp_path / "plain", "--epochs", "1")
    runs = [RunFolder.open(run_with_folds), RunFolder.open(plain)]
    with pytest.raises(ConfigurationError, match="different numbers of folds"):
        average_runs(runs, tmp_path / "both")
    with pytest.raises(ConfigurationError, match="two runs at least"):
        average_runs(runs[:1], tmp_path / "both")
    with pytest.raises(ConfigurationError, match="already holds a run"):
        average_runs([runs[0], runs[0]], run_with_folds)
