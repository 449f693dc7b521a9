"""The shipped bundles on real radiographs: both engines agree, and the cards tell the truth about files and figures."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.bundle import Bundle, find_bundles
from core.engines.protocol import load_classifier
from core.settings import MODELS_FOLDER
from tests.conftest import PROJECT
from training.data import Dataset, read_dataset
from training.evaluate import evaluate_bundle
from training.outlier_fit import draw_inputs
from training.pictures import load_pictures
from training.progress import Silent

# Keras 3.15 turns TensorFlow's variables into arrays in a way that NumPy 2 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

TOLERANCE = 1e-3
DATA = Path(os.environ.get("FRACTURE_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
FOLDERS = {"fracture-type": "bone-break", "fracture": "fracture-binary"}
#: A seed that publishing does not use.
FRESH_SEED = 7_000_000
MAX_PIXELS = 10**7

NEWEST = {bundle.card.name: bundle for bundle in find_bundles(MODELS_FOLDER)}


def shipped(*in_short: str) -> list[Any]:
    """Return all that ships, each a parameter of a test; of `in_short` alone in `make test`."""
    return [
        pytest.param(bundle, id=f"{name}-{bundle.card.version}", marks=() if name in in_short else pytest.mark.long)
        for name, bundle in NEWEST.items()
    ]


#: The larger network takes ten times as long, and is one for who can wait.
SHIPPED = shipped("fracture", "fracture-types")
ONE = shipped("fracture")


@pytest.fixture(params=SHIPPED)
def bundle(request: pytest.FixtureRequest) -> Bundle:
    found: Bundle = request.param
    return found


def radiographs_of(bundle: Bundle) -> Dataset:
    folder = DATA / FOLDERS[bundle.card.task]
    if not folder.is_dir():
        reason = f"The radiographs are not at hand: there is no folder {folder}; set FRACTURE_DATA to its parent."
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return read_dataset(folder, bundle.card.labels)


def inputs_of(bundle: Bundle, split: str, most: int) -> np.ndarray:
    """Radiographs as the network takes them: (N, side, side, channels) uint8."""
    card = bundle.card
    samples = sorted(radiographs_of(bundle).split(split), key=lambda sample: sample.sha256)[:most]
    return load_pictures(samples, card.labels, side=card.side, channels=card.channels, max_pixels=MAX_PIXELS).images


def test_the_shipped_files_are_those_of_the_card(bundle: Bundle) -> None:
    bundle.verify()
    assert {"model.keras", "model.tflite"} <= set(bundle.card.files)


@pytest.mark.parametrize("count", [40, pytest.param(100, marks=pytest.mark.long)])
def test_both_engines_agree_on_real_radiographs(bundle: Bundle, count: int) -> None:
    radiographs = inputs_of(bundle, "test", count)
    litert, keras = (
        [classifier.run(radiographs[start : start + 20]) for start in range(0, count, 20)]
        for classifier in (load_classifier(bundle, engine) for engine in ("litert", "keras"))
    )
    served, trained = (np.concatenate([part.probabilities for part in parts]) for parts in (litert, keras))
    assert np.abs(served - trained).max() <= TOLERANCE
    assert served.sum(axis=1) == pytest.approx(np.ones(len(radiographs)), abs=1e-4)
    if bundle.card.outlier_threshold is not None:
        for ours, theirs in zip(litert, keras, strict=True):
            assert ours.outlier_scores == pytest.approx(theirs.outlier_scores, rel=0.02)


@pytest.mark.parametrize("bundle", ONE, indirect=True)
@pytest.mark.parametrize("count", [400, pytest.param(4000, marks=pytest.mark.long)])
def test_answers_do_not_grow_the_process(bundle: Bundle, count: int) -> None:
    program = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "import numpy as np\n"
        "from core.answers import answers\n"
        "from core.bundle import Bundle\n"
        "from core.engines.protocol import load_classifier\n"
        "from core.processes import see\n"
        "classifier = load_classifier(Bundle.open(Path(sys.argv[1])), 'litert')\n"
        "card, generator = classifier.card, np.random.default_rng(1)\n"
        "def ask(times):\n"
        "    for _ in range(times // 8):\n"
        "        batch = generator.integers(0, 255, (8, card.side, card.side, card.channels), dtype=np.uint8)\n"
        "        assert None not in answers(classifier.run(batch), card)\n"
        "    return see(os.getpid()).memory_bytes\n"
        "print(ask(64), ask(int(sys.argv[2])))\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, str(bundle.folder), str(count)],
        capture_output=True,
        text=True,
        cwd=PROJECT,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    before, after = (int(number) for number in ended.stdout.split())
    assert after < 1.05 * before
    assert after < 250 * 2**20


def test_the_model_card_says_what_the_model_is_not_for(bundle: Bundle) -> None:
    readme = (bundle.folder / "README.md").read_text()
    assert "Research and education only" in readme
    assert "CC BY 4.0" in readme
    assert "Research and education only" in bundle.card.document["statement"]


@pytest.mark.parametrize("kind", ["blank", "gradient", "noise", "text page", "plot", "pattern", "photograph"])
def test_pictures_that_are_no_radiographs_are_noticed(kind: str, bundle: Bundle) -> None:
    outputs = load_classifier(bundle, "litert").run(
        draw_inputs(kind, bundle.card.side, bundle.card.channels, 20, FRESH_SEED)
    )
    assert outputs.outlier_scores is not None and bundle.card.outlier_threshold is not None
    noticed = float((outputs.outlier_scores > bundle.card.outlier_threshold).mean())
    # Parts of a photograph that are dark around one bright thing look like a radiograph to any of our networks.
    assert noticed >= (0.6 if kind == "photograph" else 0.9)


def test_radiographs_are_not_taken_for_something_else(bundle: Bundle) -> None:
    outputs = load_classifier(bundle, "litert").run(inputs_of(bundle, "valid", 150))
    assert outputs.outlier_scores is not None and bundle.card.outlier_threshold is not None
    assert (outputs.outlier_scores > bundle.card.outlier_threshold).mean() <= 0.03


@pytest.mark.long
def test_evaluate_reproduces_the_card_to_the_last_digit(bundle: Bundle) -> None:
    found = evaluate_bundle(
        bundle, radiographs_of(bundle), "test", engine="litert", max_pixels=MAX_PIXELS, progress=Silent()
    )
    assert found.figures == bundle.card.document["metrics"]["test"]
