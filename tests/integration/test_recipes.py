"""Every recipe builds a network that serves: probabilities, built-in layers, the same after saving and compiling."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from cli.commands.train import train
from core.errors import ConfigurationError
from training.backbones import BACKBONE, BACKBONES, backbone_features, coloured_input, set_trained_layers
from training.compile import compile_litert
from training.cross_validate import without_early_stopping
from training.folds import OutOfFold
from training.heads import linear_head
from training.labels import TASK_LABELS, labels_of_task
from training.recipe import LAST_EPOCH, Phase, first_weights
from training.recipes.registry import RECIPES, find_recipe

# Keras 3.15 turns TensorFlow's variables into arrays in a way that NumPy 2 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

PROJECT = Path(__file__).resolve().parents[2]
SIDE = 64
PICTURES = np.random.default_rng(3).integers(0, 256, (2, SIDE, SIDE, 1), dtype=np.uint8)


@pytest.fixture(autouse=True)
def forget_networks() -> Iterator[None]:
    import keras

    yield
    keras.backend.clear_session()


def build(name: str) -> Any:
    """Build a recipe's network, and let its last layer say something: it begins with zeros."""
    recipe = find_recipe(name)
    model = recipe.build(SIDE, len(labels_of_task(recipe.task)), "none")
    last = next(
        layer for layer in model.layers if layer.name in ("probabilities", "probability_of_first") and layer.weights
    )
    generator = np.random.default_rng(7)
    last.set_weights([generator.normal(size=weight.shape) for weight in last.get_weights()])
    return model


def answers(model: Any) -> Any:
    """What a network says of `PICTURES`, layer by layer: tracing it for two pictures would take far longer."""
    return np.asarray(model(PICTURES, training=False))


#: Recipes whose network is built by the same lines as another's; they are looked at where time is no matter.
ALIKE = {
    "resnet50-128",
    "resnet50-binary",
    "resnet50v2",
    "resnet50v2-binary",
    "resnet50v2-fine",
    "fusion-resnet50v2",
    "fusion-efficientnetlite2",
    "linear-resnet50v2",
    "linear-efficientnetlite1",
    "linear-efficientnetlite2",
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long if name in ALIKE else ()) for name in RECIPES]
)
def test_a_network_answers_with_probabilities_and_survives_its_file(name: str, tmp_path: Path) -> None:
    import keras

    model = build(name)
    answered = answers(model)
    assert answered.shape == (2, len(labels_of_task(find_recipe(name).task)))
    assert answered.sum(axis=1) == pytest.approx(1.0, abs=1e-5)
    assert answered.std() > 0.01
    model.save(tmp_path / "network.keras")
    again = keras.saving.load_model(tmp_path / "network.keras", compile=False, safe_mode=True)
    assert answers(again) == pytest.approx(answered, abs=1e-5)


def test_what_has_no_backbone_begins_with_nothing() -> None:
    assert first_weights(find_recipe("cnn"), "imagenet") == "none"
    assert first_weights(find_recipe("mobilenetv2"), "imagenet") == "imagenet"
    with pytest.raises(ConfigurationError, match="cnn has no pretrained part"):
        first_weights(find_recipe("cnn"), "backbone.h5")


@pytest.mark.parametrize("name", ["cnn", "fusion-mobilenetv2", "linear-mobilenetv2", "mobilenetv2-binary"])
def test_a_network_compiles_to_the_same_answers(name: str) -> None:
    from ai_edge_litert.interpreter import Interpreter

    model = build(name)
    interpreter = Interpreter(model_content=compile_litert(model))
    interpreter.allocate_tensors()
    entry, end = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    for picture, expected in zip(PICTURES, answers(model), strict=True):
        interpreter.set_tensor(entry["index"], picture[np.newaxis])
        interpreter.invoke()
        assert interpreter.get_tensor(end["index"])[0] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("name", [pytest.param("resnet50", marks=pytest.mark.long), "resnet50v2"])
def test_phases_train_the_head_first_and_then_the_top_of_the_backbone(name: str) -> None:
    recipe = find_recipe(name)
    model = build(name)
    layers = model.get_layer(BACKBONE).layers
    trained = []
    for phase in recipe.phases:
        set_trained_layers(model, phase.backbone_layers, pretrained=True)
        trained.append([index for index, layer in enumerate(layers) if layer.trainable])
    head, top = trained
    assert head == []
    assert top
    assert min(top) >= len(layers) - (recipe.phases[1].backbone_layers or len(layers))
    assert not any("BatchNormalization" in type(layers[index]).__name__ for index in top)
    assert model.get_layer("probabilities").trainable


@pytest.mark.parametrize(("name", "backbone"), BACKBONES.items())
def test_a_backbone_sees_what_its_own_preprocessing_makes(name: str, backbone: Any) -> None:
    import keras

    modules = {
        "efficientnetb3": keras.applications.efficientnet,
        "mobilenetv2": keras.applications.mobilenet_v2,
        "resnet50": keras.applications.resnet50,
        "resnet50v2": keras.applications.resnet_v2,
    }
    given = keras.Model(*coloured_input(backbone, SIDE)).predict(PICTURES, verbose=0)
    grey = np.repeat(PICTURES, 3, axis=-1).astype(np.float32)
    expected = (grey - 127) / 128 if backbone.lite is not None else modules[name].preprocess_input(grey)
    assert given == pytest.approx(expected, abs=1e-4)


def test_weights_of_another_backbone_are_refused(tmp_path: Path) -> None:
    import keras

    path = tmp_path / "other.weights.h5"
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save_weights(path)
    with pytest.raises(ConfigurationError, match="cannot be loaded"):
        backbone_features("resnet50v2", SIDE, str(path))


def test_a_network_can_begin_with_the_backbone_of_another_task(tmp_path: Path) -> None:
    first = build("mobilenetv2-binary")
    first.save(tmp_path / "first.keras")
    second = find_recipe("mobilenetv2").build(SIDE, 10, str(tmp_path / "first.keras"))
    pairs = zip(first.get_layer(BACKBONE).get_weights(), second.get_layer(BACKBONE).get_weights(), strict=True)
    assert all(np.array_equal(one, other) for one, other in pairs)
    with pytest.raises(ConfigurationError, match="cannot be loaded"):
        find_recipe("resnet50v2").build(SIDE, 10, str(tmp_path / "first.keras"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten classes by brightness, three images of each source; a manifest gives sources and splits."""
    folder = tmp_path_factory.mktemp("data")
    generator = np.random.default_rng(0)
    lines = ["path,class,split,cluster_id"]
    for split, sources in (("train", 3), ("valid", 1), ("test", 1)):
        for index, label in enumerate(TASK_LABELS["fracture-type"]):
            for source in range(sources):
                for number in range(3):
                    levels = generator.integers(0, 30, (48, 48)) + index * 22
                    name = f"{label}-{split}-{source}-{number}.png"
                    Image.fromarray(levels.astype(np.uint8)).save(folder / name)
                    lines.append(f"{name},{label},{split},{label}-{split}-{source}")
    (folder / "MANIFEST.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.mark.long
def test_folds_predict_every_image_by_a_network_that_never_saw_its_source(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = replace(find_recipe("cnn"), name="small", side=32, phases=(Phase("whole network", 2, 1e-3, None),))
    monkeypatch.setitem(RECIPES, "small", small)
    command = ["small", "--data", str(data), "--weights", "none", "--folds", "3", "--run", str(tmp_path / "run")]
    first = CliRunner().invoke(train, command, catch_exceptions=False)
    assert "Cross-validated, 120 images: accuracy" in first.stdout
    found = OutOfFold.load(tmp_path / "run" / "out-of-fold.npz")
    assert len(set(found.sha256)) == len(found.targets) == 120
    assert found.probabilities.sum(axis=1) == pytest.approx(1.0, abs=1e-5)
    fold_of_cluster = dict(zip(found.clusters, found.folds.tolist(), strict=True))
    assert [fold_of_cluster[cluster] for cluster in found.clusters] == found.folds.tolist()
    assert set(found.folds.tolist()) == {0, 1, 2}
    _assert_predicted_by_its_own_fold(tmp_path / "run", found, data)
    described = json.loads((tmp_path / "run" / "run.json").read_text())["parameters"]
    assert (described["folds"], described["trains_on_valid"], described["monitor"]) == (3, True, LAST_EPOCH)
    again = CliRunner().invoke(train, command, catch_exceptions=False)
    assert again.stdout == first.stdout  # nothing is trained twice


def _assert_predicted_by_its_own_fold(run: Path, found: OutOfFold, data: Path) -> None:
    import keras

    from core.bundle import sha256_of
    from core.images import decode
    from core.preprocessing import to_model_input

    files = {sha256_of(path): path for path in data.glob("*.png")}
    for fold in range(3):
        (network,) = (run / f"fold-{fold + 1}").glob("best-*.keras")
        model: Any = keras.saving.load_model(network, compile=False)
        index = int(np.flatnonzero(found.folds == fold)[0])
        pixels = decode(files[found.sha256[index]].read_bytes(), max_pixels=10**6)
        picture = to_model_input(pixels, side=32, channels=1)[np.newaxis]
        assert model.predict(picture, verbose=0)[0] == pytest.approx(found.probabilities[index], abs=1e-4)
        assert found.mirrored is not None
        mirrored = model.predict(picture[:, :, ::-1], verbose=0)[0]
        assert mirrored == pytest.approx(found.mirrored[index], abs=1e-4)


def test_what_is_solved_for_is_solved_in_every_fold(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(side: int, classes: int, weights: str) -> Any:
        import keras

        assert weights == "none"
        entry = keras.Input((side, side, 1), dtype="uint8")
        features = keras.layers.Conv2D(8, 3, strides=4)(keras.layers.Rescaling(1 / 20, -1)(entry))
        return keras.Model(entry, linear_head(entry, [features], classes=classes))

    small = replace(find_recipe("linear-mobilenetv2"), name="small", build=build)
    monkeypatch.setitem(RECIPES, "small", small)
    line = ["small", "--data", str(data), "--weights", "none", "--image-size", "32", "--epochs", "3", "--run"]
    command = [*line, str(tmp_path / "run"), "--folds", "3"]
    first = CliRunner().invoke(train, command, catch_exceptions=False)
    found = OutOfFold.load(tmp_path / "run" / "out-of-fold.npz")
    # Ten shades of grey are told apart by random features, and by nothing but features.
    assert (found.probabilities.argmax(axis=1) == found.targets).mean() > 0.3
    _assert_predicted_by_its_own_fold(tmp_path / "run", found, data)
    described = json.loads((tmp_path / "run" / "run.json").read_text())["parameters"]
    assert described["solving"] == {"views": 3, "penalty": small.solving and small.solving.penalty}
    assert CliRunner().invoke(train, command, catch_exceptions=False).stdout == first.stdout
    judged = CliRunner().invoke(train, [*line, str(tmp_path / "judged")], catch_exceptions=False)
    assert "Validation: " in judged.stdout
    assert (tmp_path / "judged" / "curves.png").is_file()


def test_a_recipe_without_early_stopping_runs_its_whole_schedule() -> None:
    recipe = without_early_stopping(find_recipe("resnet50"))
    assert recipe.monitor == LAST_EPOCH
    assert recipe.patience == 30


@pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="PyTorch is not installed: pip install 'fracture-queue[torch]'"
)
def test_a_network_trained_on_pytorch_serves_under_tensorflow(data: Path, tmp_path: Path) -> None:
    import keras

    line = ["-m", "cli.main", "train", "cnn", "--data", str(data), "--image-size", "32", "--epochs", "2", "--run"]
    environment = os.environ | {"KERAS_BACKEND": "torch"}
    subprocess.run([sys.executable, *line, str(tmp_path / "run")], cwd=PROJECT, env=environment, check=True)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["parameters"]["backend"] == "torch"
    (network,) = (tmp_path / "run").glob("best-*.keras")
    picture = PICTURES[:, :32, :32]
    np.save(tmp_path / "picture.npy", picture)
    code = (
        "import keras, numpy, sys; model = keras.saving.load_model(sys.argv[1], compile=False);"
        "numpy.save(sys.argv[3], model.predict(numpy.load(sys.argv[2]), verbose=0))"
    )
    files = [str(network), str(tmp_path / "picture.npy"), str(tmp_path / "answer.npy")]
    subprocess.run([sys.executable, "-c", code, *files], env=environment, check=True)
    model: Any = keras.saving.load_model(network, compile=False, safe_mode=True)
    assert model.predict(picture, verbose=0) == pytest.approx(np.load(tmp_path / "answer.npy"), abs=1e-4)
    assert compile_litert(model)
