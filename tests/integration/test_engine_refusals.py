"""A bundle whose card and network disagree is refused with words before it can answer anything."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.answers import answers
from core.bundle import Bundle, find_bundles
from core.engines.protocol import load_classifier
from core.errors import ConfigurationError, ModelMismatch
from core.preprocessing import to_model_input
from tests.conftest import draw_radiograph
from tests.unit.test_images import decode


@pytest.fixture
def folder(shipped_models: Path, tmp_path: Path) -> Path:
    """A copy of a shipped bundle without the trained Keras model, which this engine does not read."""
    shipped = next(bundle for bundle in find_bundles(shipped_models) if bundle.card.task == "fracture-type")
    copy = tmp_path / "models" / "copy"
    shutil.copytree(shipped.folder, copy, ignore=shutil.ignore_patterns("*.keras"))
    return copy


def change_card(folder: Path, **changes: Any) -> Bundle:
    path = folder / "card.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return Bundle.open(folder)


def test_a_bundle_that_agrees_with_itself_answers(folder: Path) -> None:
    classifier = load_classifier(Bundle.open(folder), "litert")
    card = classifier.card
    picture = to_model_input(decode(draw_radiograph(1)), side=card.side, channels=card.channels)
    outputs = classifier.run(np.stack([picture] * 3))
    probabilities = outputs.probabilities
    assert probabilities.shape == (3, len(card.labels))
    assert (probabilities == probabilities[0]).all()
    assert all(answers(outputs, card))


def test_a_card_with_other_labels_than_the_network_has_answers_is_refused(folder: Path) -> None:
    labels = list(Bundle.open(folder).card.labels)
    with pytest.raises(ModelMismatch, match=r"answers .*\[1, 10\].*, the card needs \[N, 9\]"):
        load_classifier(change_card(folder, labels=labels[:-1]), "litert")


def test_a_card_with_another_input_than_the_networks_is_refused(folder: Path) -> None:
    wrong = {"side": 96, "channels": 1, "geometry": "letterbox-1"}
    with pytest.raises(ModelMismatch, match=r"the card says \[1, 96, 96, 1\]"):
        load_classifier(change_card(folder, input=wrong), "litert")


def test_a_network_file_that_is_none_is_refused_though_its_hash_is_right(folder: Path) -> None:
    (folder / "model.tflite").write_bytes(b"TFL3 and nothing more")
    digest = hashlib.sha256((folder / "model.tflite").read_bytes()).hexdigest()
    with pytest.raises(ModelMismatch, match="is no usable LiteRT model"):
        load_classifier(change_card(folder, files={"model.tflite": digest}), "litert")


def test_a_network_file_that_differs_from_the_card_is_refused(folder: Path) -> None:
    with (folder / "model.tflite").open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(ModelMismatch, match="differs from its card"):
        load_classifier(Bundle.open(folder), "litert")


def test_an_engine_that_does_not_exist_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="There is no engine 'onnx'"):
        load_classifier(Bundle.open(folder), "onnx")
