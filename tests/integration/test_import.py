"""A user's own model becomes a bundle, or is refused with a sentence."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cli.main import main
from core.bundle import Bundle
from core.engines.protocol import load_classifier
from core.errors import ConfigurationError
from training.importing import read_labels, task_of
from training.model_files import load_model_file

# Keras 3.15 turns TensorFlow's variables into arrays in a way that NumPy 2 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

THREE = "spiral,Greenstick Fracture,oblique"


def network(
    classes: int = 3, *, side: int | None = 24, channels: int = 3, end: str | None = "softmax", extra: Any = None
) -> Any:
    """A small network as a notebook makes it: float input, an optimiser, other people's names."""
    import keras

    keras.utils.set_random_seed(1)
    layers = [keras.Input((side, side, channels)), keras.layers.Conv2D(4, 3, activation="relu")]
    layers += [extra] if extra is not None else []
    layers += [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(classes, activation=end)]
    model = keras.Sequential(layers)
    model.compile("adam", "mse")
    model.fit(np.zeros((2, side or 24, side or 24, channels)), np.zeros((2, classes)), verbose=0)
    return model


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    def saved(model: Any, name: str) -> Path:
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.save(tmp_path / name)
        return tmp_path / name

    return saved


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FRACTURE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FRACTURE_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


def run(file: Path, *options: str, labels: str = THREE, input_range: str = "-1-1") -> int:
    with pytest.raises(SystemExit) as ended:
        main(["models", "import", str(file), "--labels", labels, "--input-range", input_range, *options])
    return int(ended.value.code or 0)


def test_a_softmax_keras_file_becomes_a_bundle(
    save: Callable[..., Path], models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = network()
    assert run(save(theirs, "My Net.keras"), "--title", "My own") == 0
    said = capsys.readouterr()
    assert "import only what you trust" in said.err
    assert "models activate my-net/1.0.0" in said.out
    bundle = Bundle.open(models / "my-net" / "1.0.0")
    bundle.verify()
    card = bundle.card
    assert (card.task, card.labels, card.side, card.channels) == (
        "fracture-type",
        ("spiral", "greenstick", "oblique"),
        24,
        1,
    )
    document = card.document
    assert (document["metrics"], document["conformal"], document["doubt"], document["title"]) == (
        {},
        None,
        None,
        "My own",
    )
    assert document["imported"]["file"] == "My Net.keras"
    assert "**Unknown.**" in (bundle.folder / "README.md").read_text()
    picture = np.random.default_rng(3).integers(0, 256, (2, 24, 24, 1)).astype(np.uint8)
    expected = np.asarray(theirs(np.repeat(picture, 3, axis=-1) / 127.5 - 1))
    for engine in ("keras", "litert"):
        assert np.allclose(load_classifier(bundle, engine).run(picture).probabilities, expected, atol=1e-4)
    with zipfile.ZipFile(bundle.folder / "model.keras") as archive:
        config = json.loads(archive.read("config.json"))
    assert config["compile_config"] is None or not config["compile_config"].get("optimizer")


def test_a_sigmoid_h5_file_becomes_two_labels(
    save: Callable[..., Path], models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = network(1, channels=1, end="sigmoid")
    file = save(theirs, "binary.h5")
    assert run(file, "--name", "mine", "--version", "2.0", labels="fractured,normal", input_range="0-1") == 0
    bundle = Bundle.open(models / "mine" / "2.0")
    assert (bundle.card.task, bundle.card.labels) == ("fracture", ("fractured", "not-fractured"))
    picture = np.random.default_rng(3).integers(0, 256, (2, 24, 24, 1)).astype(np.uint8)
    second = np.asarray(theirs(picture / 255))
    found = load_classifier(bundle, "litert").run(picture).probabilities
    assert np.allclose(found, np.concatenate([1 - second, second], axis=1), atol=1e-4)
    # The same again is refused; without a version it is the next one.
    assert run(file, "--name", "mine", "--version", "2.0", labels="fractured,normal", input_range="0-1") == 2
    assert "a version never changes" in capsys.readouterr().err
    assert run(file, "--name", "mine", labels="fractured,normal", input_range="0-1") == 0
    assert (models / "mine" / "2.1" / "card.json").is_file()


@pytest.mark.parametrize(("classes", "labels"), [(3, THREE), (1, "normal,fractured")])
def test_logits_become_probabilities(
    save: Callable[..., Path], models: Path, classes: int, labels: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = save(network(classes, end=None), "logits.keras")
    if classes == 3:
        assert run(file, labels=labels) == 2
        assert "--outputs logits" in capsys.readouterr().err
    assert run(file, "--outputs", "logits", labels=labels) == 0
    bundle = Bundle.open(models / "logits" / "1.0.0")
    rows = load_classifier(bundle, "litert").run(np.full((1, 24, 24, 1), 99, np.uint8)).probabilities
    assert rows.shape == (1, max(classes, 2))
    assert rows.sum() == pytest.approx(1)


def test_an_open_size_is_asked_for(save: Callable[..., Path], models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = save(network(side=None), "open.keras")
    assert run(file) == 2
    assert "say which with --image-size" in capsys.readouterr().err
    assert run(file, "--image-size", "40", input_range="torch") == 0
    assert Bundle.open(models / "open" / "1.0.0").card.side == 40


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_code_in_a_file_is_refused_unread(
    save: Callable[..., Path], models: Path, tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    import keras

    file = save(network(extra=keras.layers.Lambda(lambda x: x * 2)), f"lambda.{suffix}")
    assert run(file) == 2
    assert "holds a Lambda layer, which is Python code" in capsys.readouterr().err

    @keras.saving.register_keras_serializable("own")
    class Doubled(keras.layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return x * 2

    file = save(network(extra=Doubled()), f"custom.{suffix}")
    assert run(file) == 2
    assert "holds 'Doubled', which is not built into Keras" in capsys.readouterr().err
    assert not models.exists()


def test_a_module_outside_keras_is_refused(tmp_path: Path, save: Callable[..., Path]) -> None:
    file, changed = save(network(), "a.keras"), tmp_path / "b.keras"
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(changed, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, content.replace(b'"module": "keras.layers"', b'"module": "os.layers"'))
    with pytest.raises(ConfigurationError, match="not built into Keras"):
        load_model_file(changed)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"labels": "spiral,oblique"}, "answers 3 classes, but 2 labels are given"),
        ({"labels": "spiral,spiral,oblique"}, "different labels"),
        ({"options": ["--task", "fracture"]}, "needs the labels fractured and not-fractured"),
        ({"options": ["--name", "../up"]}, "no name and version"),
        ({"options": ["--image-size", "32"]}, "must be one square"),
    ],
)
def test_what_does_not_fit_is_refused(
    save: Callable[..., Path], models: Path, options: dict[str, Any], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = save(network(), "fit.keras")
    assert run(file, *options.get("options", []), labels=options.get("labels", THREE)) == 2
    assert words in capsys.readouterr().err
    assert not models.exists()


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_damaged_files_are_refused(save: Callable[..., Path], tmp_path: Path, suffix: str) -> None:
    whole = save(network(), f"whole.{suffix}").read_bytes()
    for name, content in {"cut": whole[: len(whole) // 2], "text": b"no model at all", "empty": b""}.items():
        file = tmp_path / f"{name}.{suffix}"
        file.write_bytes(content)
        with pytest.raises(ConfigurationError, match="is no Keras model, or it is damaged"):
            load_model_file(file)
    with pytest.raises(ConfigurationError, match="There is no model file"):
        load_model_file(tmp_path / f"nowhere.{suffix}")


def test_weights_alone_and_other_files_are_refused(tmp_path: Path, save: Callable[..., Path]) -> None:
    network().save_weights(tmp_path / "some.weights.h5")
    with pytest.raises(ConfigurationError, match="weights without their network"):
        load_model_file(tmp_path / "some.weights.h5")
    with pytest.raises(ConfigurationError, match="no model file by its name"):
        load_model_file(tmp_path / "network.pt")


def test_a_file_of_an_older_keras_that_cannot_be_loaded_says_what_to_do(
    tmp_path: Path, save: Callable[..., Path]
) -> None:
    import h5py

    file = save(network(), "old.h5")
    with h5py.File(file, "r+") as opened:
        config = json.loads(opened.attrs["model_config"])
        config["config"]["layers"][1]["class_name"] = "BatchNormalizationV1"
        opened.attrs["model_config"] = json.dumps(config)
    with pytest.raises(ConfigurationError, match=r"Keras 3 cannot load .* saved again as \.keras"):
        load_model_file(file)


def test_labels_are_read_from_words_or_a_file(tmp_path: Path) -> None:
    listed = tmp_path / "classes.txt"
    listed.write_text("Spiral Fracture\n\nHairline Fracture\nBuckle fracture\n")
    assert read_labels(str(listed)) == ("spiral", "hairline", "buckle-fracture")
    assert task_of(read_labels("normal, Fractured"), None) == "fracture"
    assert task_of(read_labels("a,b"), None) == "fracture-type"
