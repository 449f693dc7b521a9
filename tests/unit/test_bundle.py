import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from core.bundle import Bundle, ModelCard, find_bundles, version_key
from core.errors import ModelMismatch, ModelNotFound
from tests.fakes import card_document, write_bundle


def test_a_card_gives_what_serving_needs() -> None:
    card = ModelCard.from_document(
        card_document(conformal={"threshold": 0.1}, doubt={"threshold": 0.5}, calibration={"temperature": 1.5})
    )
    assert (card.labels, card.side, card.channels) == (("greenstick", "oblique", "spiral"), 32, 1)
    assert (card.temperature, card.conformal_threshold, card.doubt_threshold) == (1.5, 0.1, 0.5)
    assert card.document["title"] == card.title
    assert (card.doubt_band, card.decision_threshold, card.outlier_threshold) == (None, None, None)


def test_a_binary_card_gives_its_decision_its_band_of_doubt_and_its_outlier_threshold() -> None:
    card = ModelCard.from_document(
        card_document(
            labels=["fractured", "not-fractured"],
            decision={"label": "fractured", "threshold": 0.2},
            doubt={"low": 0.1, "high": 0.5},
            outlier={"threshold": 1.3},
        )
    )
    assert (card.decision_threshold, card.doubt_band, card.outlier_threshold) == (0.2, (0.1, 0.5), 1.3)
    assert card.doubt_threshold is None


@pytest.mark.parametrize("field", ["name", "version", "task", "labels", "input", "calibration", "files"])
def test_a_card_without_a_field_names_it(field: str) -> None:
    with pytest.raises(ModelMismatch, match=f"incomplete or wrong: KeyError\\('{field}'\\)"):
        ModelCard.from_document(card_document(**{field: None}))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"task": "age"}, "its task is 'age', not one of fracture-type, fracture"),
        ({"labels": ["spiral"]}, "its labels are not two or more different words: spiral"),
        ({"labels": ["spiral", "spiral"]}, "not two or more different words"),
        ({"input": {"side": 32, "channels": 1, "geometry": "stretch-9"}}, "geometry is 'stretch-9', this program's is"),
        ({"input": {"side": 32, "channels": 1}}, "its geometry is None"),
        ({"input": {"side": 8, "channels": 1, "geometry": "letterbox-1"}}, "its input is 8 px with 1 channels"),
        ({"input": {"side": 32, "channels": 2, "geometry": "letterbox-1"}}, "its input is 32 px with 2 channels"),
        ({"input": {"side": "big", "channels": 1}}, "incomplete or wrong: ValueError"),
        ({"calibration": {"temperature": 0}}, "its temperature is 0"),
        ({"calibration": {"temperature": float("nan")}}, "its temperature is nan"),
        ({"calibration": {"temperature": float("inf")}}, "its temperature is inf"),
        ({"calibration": {"temperature": 1, "shift": float("nan")}}, "its shift is nan"),
        ({"calibration": {}}, "incomplete or wrong: KeyError"),
        ({"labels": 7}, "incomplete or wrong: TypeError"),
        ({"labels": "spiral"}, "incomplete or wrong: TypeError"),
        ({"decision": {"label": "spiral", "threshold": 0.2}}, "its decision is about 'spiral', not the first of two"),
        ({"doubt": {"low": 0.1, "high": 0.4}}, "its doubt is a band, which needs two labels"),
        ({"outlier": {"threshold": float("nan")}}, "one of its thresholds is no finite number"),
        ({"doubt": {"low": 0.1}}, "incomplete or wrong: KeyError\\('high'\\)"),
        ({"files": ["model.keras"]}, "incomplete or wrong: AttributeError"),
    ],
)
def test_a_card_that_cannot_be_used_says_why(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelMismatch, match=words):
        ModelCard.from_document(card_document(**changes))


def test_a_card_with_several_faults_names_them_all() -> None:
    with pytest.raises(ModelMismatch, match=r"task is 'age'.*; .*temperature is -1"):
        ModelCard.from_document(card_document(task="age", calibration={"temperature": -1}))


def test_the_identity_of_a_bundle_is_the_hash_of_its_card(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path)
    bundle = Bundle.open(folder)
    assert bundle.sha256 == hashlib.sha256((folder / "card.json").read_bytes()).hexdigest()
    bundle.verify()
    assert bundle.file("model.tflite").read_bytes() == b"compiled"


def test_a_file_that_differs_from_the_card_is_refused(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path)
    (folder / "model.tflite").write_bytes(b"compileD")
    bundle = Bundle.open(folder)
    for look in (bundle.verify, lambda: bundle.file("model.tflite")):
        with pytest.raises(ModelMismatch, match=r"model.tflite differs from its card: sha256 .*, the card says"):
            look()
    assert bundle.file("model.keras").is_file()


def test_a_file_that_is_missing_or_not_on_the_card_is_refused(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path)
    (folder / "model.keras").unlink()
    (folder / "more.bin").write_bytes(b"")
    bundle = Bundle.open(folder)
    with pytest.raises(ModelMismatch, match=r"model.keras cannot be read: No such file"):
        bundle.file("model.keras")
    with pytest.raises(ModelMismatch, match=r"names no file more.bin"):
        bundle.file("more.bin")


@pytest.mark.parametrize(("text", "words"), [("{", "is not JSON"), ("[]", "is not a JSON object"), ("\xff", "JSON")])
def test_a_damaged_card_is_refused(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "card.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ModelMismatch, match=words):
        Bundle.open(tmp_path)


def test_a_folder_without_a_card_is_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path, tmp_path / "nowhere", tmp_path / "file"):
        with pytest.raises(ModelNotFound, match=r"card.json is missing"):
            Bundle.open(folder)


def test_bundles_are_found_by_name_and_in_the_order_of_their_versions(tmp_path: Path) -> None:
    for version in ("1.10.0", "1.9.0", "1.9.0.rc1"):
        write_bundle(tmp_path, version=version)
    write_bundle(tmp_path, name="binary", task="fracture")
    found = [(bundle.card.name, bundle.card.version) for bundle in find_bundles(tmp_path)]
    types = [("fracture-types", version) for version in ("1.9.0", "1.9.0.rc1", "1.10.0")]
    assert found == [("binary", "1.0.0"), *types]


@pytest.mark.parametrize("make", [True, False])
def test_a_folder_without_bundles_says_what_was_expected(make: bool, tmp_path: Path) -> None:
    models = tmp_path / "models"
    if make:
        models.mkdir()
    with pytest.raises(ModelNotFound, match=r"expected NAME/VERSION/card.json"):
        find_bundles(models)


def test_versions_of_any_spelling_can_be_ordered() -> None:
    spelled = ["2", "1.10", "1.9", "1.b", "1.²", "", "1.9.1"]
    assert sorted(spelled, key=version_key) == ["1.9", "1.9.1", "1.10", "1.b", "1.²", "2", ""]


def test_a_card_survives_being_written_and_read(tmp_path: Path) -> None:
    document = card_document(metrics={"accuracy": 0.5})
    assert ModelCard.from_document(json.loads(json.dumps(document))).document == document
