"""Make a bundle of a finished run: both network files, calibration, figures, card."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.bundle import CARD_FILE, Bundle, find_bundles, sha256_of, version_key
from core.engines.protocol import load_classifier
from core.errors import ConfigurationError, ModelNotFound
from training.calibrate import fit_temperature
from training.compile import compile_litert, refuse_difference
from training.data import Dataset
from training.evaluate import evaluate_bundle
from training.metrics import Floats
from training.model_card import card_document, readme
from training.pictures import Pictures, load_pictures
from training.progress import Progress
from training.recipes.registry import find_recipe
from training.run_folder import RunFolder
from training.schedule import best_epoch

#: The engine whose figures the card holds: the one that serves by default.
ENGINE = "litert"
_DEFAULT_NAMES = {"fracture-type": "fracture-types", "fracture": "fracture"}


@dataclass(frozen=True)
class Publication:
    """What to publish, and where."""

    run: RunFolder
    dataset: Dataset  # the run's own
    models: Path
    name: str
    version: str
    max_pixels: int

    @property
    def folder(self) -> Path:
        """The bundle's folder."""
        return self.models / self.name / self.version


def default_name(run: RunFolder) -> str:
    """Return the name under which a task's models are published."""
    return _DEFAULT_NAMES[run.description["task"]]


def next_version(models: Path, name: str) -> str:
    """Return 1.0.0, or the newest version of this name with its last number one higher."""
    try:
        versions = [bundle.card.version for bundle in find_bundles(models) if bundle.card.name == name]
    except ModelNotFound:
        versions = []
    if not versions:
        return "1.0.0"
    *head, last = sorted(versions, key=version_key)[-1].split(".")
    return ".".join([*head, str(int(last) + 1) if last.isdigit() else f"{last}.1"])


def check_data(run: RunFolder, dataset: Dataset) -> None:
    """Accept only the data that the run was trained on.

    Raises:
        ConfigurationError: Images, classes or splits are others.
    """
    if dataset.hashes() != run.description["data"]["sha256"]:
        raise ConfigurationError(
            f"The data in {dataset.folder} are not those of the run in {run.folder}; give the right folder as --data."
        )


def publish(publication: Publication, progress: Progress) -> Bundle:
    """Build the bundle beside its place and move it there whole.

    The valid split fits the temperature; the test split, if there is one, is read for the card and counted.

    Raises:
        ConfigurationError: The version exists, the run has no finished epoch, or an image cannot be decoded.
        ModelMismatch: The compiled network differs from the trained one.
    """
    if publication.folder.exists():
        raise ConfigurationError(
            f"{publication.folder} exists; a published version never changes. Give another --version."
        )
    network = publication.run.best_file
    publication.models.mkdir(parents=True, exist_ok=True)
    # One level higher than a bundle, so that nobody takes an unfinished one for a model.
    with tempfile.TemporaryDirectory(prefix=".publishing-", dir=publication.models) as place:
        staging = Path(place) / "bundle"
        staging.mkdir()
        _write_networks(network, staging)
        temperature, difference = _calibrate(publication, staging, progress)
        _write_card(publication, staging, temperature, difference, {})
        metrics = _measure(publication, Bundle.open(staging), progress)
        card = _write_card(publication, staging, temperature, difference, metrics)
        (staging / "README.md").write_text(readme(card))
        publication.folder.parent.mkdir(exist_ok=True)
        shutil.move(staging, publication.folder)
    return Bundle.open(publication.folder)


def _write_networks(network: Path, staging: Path) -> None:
    import keras

    shutil.copyfile(network, staging / "model.keras")
    model: Any = keras.saving.load_model(network, compile=False, safe_mode=True)
    (staging / "model.tflite").write_bytes(compile_litert(model))


def _calibrate(publication: Publication, staging: Path, progress: Progress) -> tuple[float, float]:
    """Return the temperature, and the greatest difference between the engines, both on the validation split."""
    _write_card(publication, staging, 1.0, 0.0, {})
    bundle = Bundle.open(staging)
    samples = publication.dataset.split("valid")
    progress.begin("comparing engines on valid", len(samples))
    valid = load_pictures(
        samples,
        bundle.card.labels,
        side=bundle.card.side,
        channels=bundle.card.channels,
        max_pixels=publication.max_pixels,
        advance=progress.step,
    )
    trained, compiled = (_probabilities(bundle, engine, valid) for engine in ("keras", ENGINE))
    difference = refuse_difference(trained, compiled)
    return fit_temperature(compiled, valid.targets), difference


def _probabilities(bundle: Bundle, engine: str, pictures: Pictures, batch_size: int = 32) -> Floats:
    classifier = load_classifier(bundle, engine)
    parts = range(0, len(pictures.images), batch_size)
    rows = [classifier.probabilities(pictures.images[start : start + batch_size]) for start in parts]
    return np.concatenate(rows).astype(np.float64)


def _measure(publication: Publication, bundle: Bundle, progress: Progress) -> dict[str, Any]:
    splits = [split for split in ("valid", "test") if split in publication.dataset.counts()]
    if "test" in splits:
        publication.run.count_test_read()
    return {
        split: evaluate_bundle(
            bundle,
            publication.dataset,
            split,
            engine=ENGINE,
            max_pixels=publication.max_pixels,
            progress=progress,
        ).figures
        for split in splits
    }


def _write_card(
    publication: Publication, staging: Path, temperature: float, difference: float, metrics: dict[str, Any]
) -> dict[str, Any]:
    run = publication.run
    recipe = find_recipe(run.description["recipe"])
    card = card_document(
        name=publication.name,
        version=publication.version,
        title=recipe.title,
        run=run.description,
        kept=run.rows[best_epoch(run.rows, recipe)],
        files={name: sha256_of(staging / name) for name in ("model.keras", "model.tflite")},
        temperature=temperature,
        engine_difference=difference,
        metrics=metrics,
        test_reads=run.test_reads,
    )
    (staging / CARD_FILE).write_text(json.dumps(card, indent=1) + "\n")
    return card
