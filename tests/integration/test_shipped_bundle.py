"""The shipped bundle on real radiographs: both engines agree, and the card tells the truth about its files."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from core.bundle import Bundle, find_bundles
from core.engines.protocol import load_classifier
from core.settings import MODELS_FOLDER
from training.data import read_dataset
from training.pictures import load_pictures

# Keras 3.15 turns TensorFlow's variables into arrays in a way that NumPy 2 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

TOLERANCE = 1e-3
DATA = Path(os.environ.get("FRACTURE_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data") / "bone-break"


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return [bundle for bundle in find_bundles(MODELS_FOLDER) if bundle.card.name == "fracture-types"][-1]


@pytest.fixture(scope="module")
def radiographs(bundle: Bundle) -> np.ndarray:
    """The test split, as the network takes it: (N, side, side, channels) uint8."""
    if not DATA.is_dir():
        reason = f"The radiographs are not at hand: there is no folder {DATA}; set FRACTURE_DATA to its parent."
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    card = bundle.card
    samples = read_dataset(DATA, card.labels).split("test")
    return load_pictures(samples, card.labels, side=card.side, channels=card.channels, max_pixels=10**7).images


def test_the_shipped_files_are_those_of_the_card(bundle: Bundle) -> None:
    bundle.verify()
    assert {"model.keras", "model.tflite"} <= set(bundle.card.files)


def test_both_engines_agree_on_real_radiographs(bundle: Bundle, radiographs: np.ndarray) -> None:
    assert len(radiographs) >= 100
    litert, keras = (
        np.concatenate(
            [classifier.probabilities(radiographs[start : start + 16]) for start in range(0, len(radiographs), 16)]
        )
        for classifier in (load_classifier(bundle, "litert"), load_classifier(bundle, "keras"))
    )
    assert np.abs(litert - keras).max() <= TOLERANCE
    assert litert.sum(axis=1) == pytest.approx(np.ones(len(radiographs)), abs=1e-4)


def test_the_model_card_says_what_the_model_is_not_for(bundle: Bundle) -> None:
    readme = (bundle.folder / "README.md").read_text()
    assert "Research and education only" in readme
    assert "CC BY 4.0" in readme
    assert "Research and education only" in bundle.card.document["statement"]
