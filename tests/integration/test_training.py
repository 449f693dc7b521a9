"""Train a tiny network, interrupt and resume it, publish it, and judge it through both engines."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from cli.commands.evaluate import evaluate
from cli.commands.publish import publish
from cli.commands.train import train
from core.bundle import Bundle
from core.errors import ConfigurationError, ModelNotFound
from training.augmentation import Augmentation
from training.heads import pooled_head
from training.labels import TASK_LABELS
from training.recipe import Phase
from training.recipes.registry import RECIPES, find_recipe

# Keras 3.15 turns TensorFlow's variables into arrays in a way that NumPy 2 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

PROJECT = Path(__file__).resolve().parents[2]
EPOCHS = 20
LABELS = TASK_LABELS["fracture-type"]


def build(side: int, classes: int, weights: str) -> Any:
    """Two convolutions; nothing is ever loaded."""
    import keras

    entry = keras.Input((side, side, 1), dtype="uint8")
    scaled = keras.layers.Rescaling(1 / 255)(entry)
    small = keras.layers.Conv2D(32, 5, strides=2, activation="relu")(scaled)
    return keras.Model(
        entry, pooled_head(keras.layers.Conv2D(32, 3, activation="relu")(small), classes=classes, dropout=0.1)
    )


TINY = replace(
    find_recipe("mobilenetv2"),
    name="tiny",
    title="A tiny network",
    side=32,
    batch_size=10,
    phases=(Phase("first", 2, 1e-2, 0), Phase("second", EPOCHS, 1e-2, 0)),
    patience=EPOCHS,
    monitor="valid_loss",
    augmentation=Augmentation(zoom=0, shear=0, contrast=0, brightness=0),
    mixup=0.2,
    label_smoothing=0.0,
    build=build,
)


def train_in_a_process() -> None:
    """Be the command line of another process that knows the tiny recipe."""
    RECIPES["tiny"] = TINY
    train()


@pytest.fixture(autouse=True)
def tiny_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RECIPES, "tiny", TINY)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten classes, each with its own brightness and stripes: easily told apart."""
    folder = tmp_path_factory.mktemp("data")
    generator = np.random.default_rng(0)
    for split, count in (("train", 6), ("valid", 3), ("test", 3)):
        for index, label in enumerate(LABELS):
            for number in range(count):
                levels = generator.integers(0, 30, (40, 34)) + index * 20
                levels[:: index + 2] += 40
                path = folder / split / f"{label} fracture" / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(levels.astype(np.uint8)).save(path)
    return folder


def arguments(data: Path, run: Path, epochs: int = EPOCHS) -> list[str]:
    # The stripes of one class are much the same in all splits, as copies are.
    options = ["--weights", "none", "--epochs", str(epochs), "--allow-leakage"]
    return ["tiny", "--data", str(data), *options, "--run", str(run)]


def history(run: Path) -> list[dict[str, Any]]:
    path = run / "progress.json"
    return list(json.loads(path.read_text())["epochs"]) if path.exists() else []


@pytest.fixture(scope="module")
def interrupted_run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run whose process was killed in the middle of the second phase."""
    run = tmp_path_factory.mktemp("runs") / "interrupted"
    command = "from tests.integration.test_training import train_in_a_process as run; run()"
    process = subprocess.Popen(
        [sys.executable, "-c", command, *arguments(data, run)], cwd=PROJECT, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while len(history(run)) < 4 and process.poll() is None and time.monotonic() < deadline:
        try:
            process.wait(timeout=0.02)
        except subprocess.TimeoutExpired:
            continue
    process.send_signal(signal.SIGKILL)
    _, errors = process.communicate()
    assert process.returncode == -signal.SIGKILL, errors
    yield run


@pytest.fixture(scope="module")
def finished_run(data: Path, interrupted_run: Path) -> Path:
    """The interrupted run after the same command was given again."""
    before = history(interrupted_run)
    assert 4 <= len(before) < EPOCHS
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(RECIPES, "tiny", TINY)
        result = CliRunner().invoke(train, arguments(data, interrupted_run), catch_exceptions=False)
    assert f"goes on after epoch {len(before)}" in result.stderr
    assert history(interrupted_run)[: len(before)] == before
    return interrupted_run


def test_a_killed_run_goes_on_to_the_same_epoch_without_a_gap(data: Path, finished_run: Path, tmp_path: Path) -> None:
    assert [row["epoch"] for row in history(finished_run)] == list(range(1, EPOCHS + 1))
    CliRunner().invoke(train, arguments(data, tmp_path / "whole"), catch_exceptions=False)
    for name in ("train_loss", "valid_loss", "learning_rate"):
        resumed, whole = ([row[name] for row in history(run)] for run in (finished_run, tmp_path / "whole"))
        # The same pictures, dropout and optimiser state; sums over threads differ in the last digits.
        assert resumed == pytest.approx(whole, rel=1e-3)
    assert {path.name for path in finished_run.iterdir()} >= {"run.json", "history.csv", "history.json", "curves.png"}


def test_a_finished_run_is_not_trained_again(data: Path, finished_run: Path) -> None:
    before = history(finished_run)
    result = CliRunner().invoke(train, arguments(data, finished_run), catch_exceptions=False)
    assert history(finished_run) == before
    assert f"{EPOCHS} epochs" in result.stdout


@pytest.fixture(scope="module")
def bundle(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    models = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(RECIPES, "tiny", TINY)
        CliRunner().invoke(publish, [str(finished_run), "--models", str(models)], catch_exceptions=False)
    return Bundle.open(models / "fracture-types" / "1.0.0")


def test_the_published_bundle_agrees_with_its_card(bundle: Bundle, finished_run: Path) -> None:
    bundle.verify()
    card = bundle.card
    assert (card.task, card.labels, card.side, card.channels) == ("fracture-type", LABELS, 32, 1)
    assert set(card.files) == {"model.keras", "model.tflite"}
    assert card.document["metrics"]["test"]["images"] == 30
    assert card.document["metrics"]["test"]["accuracy"] > 0.3  # the stripes were learnt
    assert card.document["data"]["counts"] == {"train": 60, "valid": 30, "test": 30}
    assert card.document["test_reads"] == 1
    readme = (bundle.folder / "README.md").read_text()
    assert "Research and education only" in readme
    assert f"{card.document['metrics']['test']['accuracy']:.4f}" in readme
    assert [path.name for path in bundle.folder.parents[1].iterdir()] == ["fracture-types"]


def test_the_published_network_carries_no_optimiser(bundle: Bundle) -> None:
    import keras

    model = keras.saving.load_model(bundle.file("model.keras"), safe_mode=True)
    assert getattr(model, "optimizer", None) is None


def judge(bundle: Bundle, data: Path, engine: str) -> dict[str, Any]:
    options = ["--data", str(data), "--split", "test", "--engine", engine, "--format", "json"]
    result = CliRunner().invoke(evaluate, [str(bundle.folder), *options], catch_exceptions=False)
    return dict(json.loads(result.stdout))


def test_evaluate_repeats_the_figures_of_the_card(bundle: Bundle, data: Path) -> None:
    found = judge(bundle, data, "litert")
    card = bundle.card.document["metrics"]["test"]
    assert {name: found[name] for name in card} == card
    assert found["model"] == {"name": "fracture-types", "version": "1.0.0", "card_sha256": bundle.sha256}


def test_both_engines_give_the_same_figures(bundle: Bundle, data: Path) -> None:
    litert, keras = (judge(bundle, data, engine) for engine in ("litert", "keras"))
    assert litert["confusion_matrix"] == keras["confusion_matrix"]
    for name in ("accuracy", "macro_f1", "brier", "log_loss"):
        assert litert[name] == pytest.approx(keras[name], abs=1e-3)


def test_a_bundle_is_found_by_name_and_shown_as_text(
    bundle: Bundle, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FRACTURE_MODELS", str(bundle.folder.parents[1]))
    for reference in ("fracture-types", "fracture-types/1.0.0"):
        result = CliRunner().invoke(evaluate, [reference, "--data", str(data)], catch_exceptions=False)
        assert "balanced accuracy" in result.stdout
    result = CliRunner().invoke(evaluate, ["fracture-types/9", "--data", str(data)])
    assert isinstance(result.exception, ModelNotFound)


def test_a_published_version_is_never_replaced_and_the_next_one_is_free(bundle: Bundle, finished_run: Path) -> None:
    models = bundle.folder.parents[1]
    result = CliRunner().invoke(publish, [str(finished_run), "--models", str(models), "--version", "1.0.0"])
    assert isinstance(result.exception, ConfigurationError)
    assert "never changes" in str(result.exception)


def test_mistakes_are_sentences(bundle: Bundle, data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    tiny = ["tiny", "--weights", "none", "--run", str(run)]
    for command, line, words in (
        (train, [*tiny, "--data", str(tmp_path / "nowhere")], "no data folder"),
        (train, ["giant", "--data", str(data)], "no recipe 'giant'"),
        (train, ["tiny", "--data", str(data), "--weights", "lost.h5"], "no weights file"),
        (train, [*tiny, "--data", str(data), "--epochs", "1"], "too few"),
        (evaluate, [str(bundle.folder), "--data", str(data), "--split", "holdout"], "no split 'holdout'"),
        (publish, [str(tmp_path)], "no training run"),
    ):
        result = CliRunner().invoke(command, line)
        assert isinstance(result.exception, ConfigurationError), (line, result.output)
        assert words in str(result.exception)
    assert not run.exists()


def test_help_loads_no_tensorflow() -> None:
    code = (
        "import sys, cli.commands.train as t, cli.commands.evaluate as e, cli.commands.publish as p\n"
        "for c in (t.train, e.evaluate, p.publish): c.main(['--help'], standalone_mode=False)\n"
        "sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    environment = os.environ | {"PYTHONWARNINGS": "error"}
    subprocess.run([sys.executable, "-c", code], cwd=PROJECT, env=environment, check=True, capture_output=True)
