"""Make a bundle of a finished run: both network files, calibration, outlier score, figures, card."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.bundle import CARD_FILE, Bundle, find_bundles, sha256_of, version_key
from core.engines.outputs import Outputs
from core.engines.protocol import load_classifier
from core.errors import ConfigurationError, ModelNotFound
from training.activation import METHOD as ACTIVATION_METHOD
from training.activation import with_activation_map
from training.compile import PRECISIONS, compile_litert, difference, refuse_difference
from training.cross_validated import (
    CROSS_VALIDATED,
    Basis,
    cross_validated_figures,
    out_of_fold_basis,
    valid_basis,
)
from training.data import Dataset
from training.evaluate import Evaluation, Without, evaluate_bundle, figures_by, leave_out, run_all
from training.half_precision import hold_in_half, save_small
from training.judged import short_figures
from training.model_card import card_document, readme
from training.outlier import with_outlier_score
from training.outlier_fit import STRANGERS, count_noticed, fit_on_radiographs
from training.pictures import Pictures, load_pictures
from training.progress import Progress
from training.run_folder import RunFolder

#: The engine whose figures the card holds: the one that serves by default.
ENGINE = "litert"
_DEFAULT_NAMES = {"fracture-type": "fracture-types", "fracture": "fracture"}
#: Columns of a manifest that a card gives figures for, and images that it also leaves out: the known shortcuts.
_BY = ("region",)
_WITHOUT = (Without("hardware", "1"),)
_NOTHING: dict[str, Any] = {
    "calibration": {"method": "temperature", "temperature": 1.0},
    "conformal": None,
    "decision": None,
    "doubt": None,
    "outlier": None,
    "activation": None,
}


@dataclass(frozen=True)
class Publication:
    """What to publish, and where."""

    run: RunFolder
    dataset: Dataset  # the run's own
    models: Path
    name: str
    version: str
    max_pixels: int
    radiographs: Sequence[Dataset] = ()  # further ones, which the outlier score should know

    @property
    def folder(self) -> Path:
        """The bundle's folder."""
        return self.models / self.name / self.version

    @property
    def decides(self) -> bool:
        """Whether the first class is one that must not be missed."""
        return bool(self.run.description["task"] == "fracture")


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

    Calibration is fitted on out-of-fold predictions if the run has them, else on the validation split. The test
    split, if there is one, is read for the card and counted.

    Raises:
        ConfigurationError: The version exists, the run has no finished epoch, or an image cannot be decoded.
        ModelMismatch: The compiled network differs from the trained one.
    """
    if publication.folder.exists():
        raise ConfigurationError(
            f"{publication.folder} exists; a published version never changes. Give another --version."
        )
    trained = publication.run.best_file
    publication.models.mkdir(parents=True, exist_ok=True)
    # One level higher than a bundle, so that nobody takes an unfinished one for a model.
    with tempfile.TemporaryDirectory(prefix=".publishing-", dir=publication.models) as place:
        staging = Path(place) / "bundle"
        staging.mkdir()
        _Press(publication, trained, staging, progress).run()
        publication.folder.parent.mkdir(exist_ok=True)
        shutil.move(staging, publication.folder)
    return Bundle.open(publication.folder)


class _Press:
    """One publication in the making: the sections of its card fill up step by step."""

    def __init__(self, publication: Publication, trained: Path, staging: Path, progress: Progress) -> None:
        self._publication = publication
        self._trained = trained
        self._staging = staging
        self._progress = progress
        self._sections: dict[str, Any] = dict(_NOTHING)
        self._metrics: dict[str, Any] = {}

    def run(self) -> None:
        # First, for it refuses what cannot be calibrated, and all else takes minutes.
        basis = out_of_fold_basis(self._publication.run, self._publication.dataset)
        network = self._with_further_outputs()
        hold_in_half(network)  # what was added
        save_small(network, self._staging / "model.keras")
        valid = self._load_valid()
        reference = self._outputs("keras", valid)
        basis = basis or valid_basis(reference.probabilities, valid.targets, valid.clusters)
        labels = self._publication.run.description["labels"]
        calibration = basis.fit(decides=self._publication.decides)
        self._sections |= calibration.document(labels, basis.fitted_on, basis.targets)
        self._compile(network, valid, reference)
        self._measure(basis)
        card = self._write_card()
        (self._staging / "README.md").write_text(readme(card))

    def _with_further_outputs(self) -> Any:
        import keras

        publication = self._publication
        model: Any = keras.saving.load_model(self._trained, compile=False, safe_mode=True)
        hold_in_half(model)
        mapped = with_activation_map(model)
        if mapped is not None:
            height, width = mapped.outputs[1].shape[1:3]
            self._sections["activation"] = {"height": height, "width": width, "method": ACTIVATION_METHOD}
        fit = fit_on_radiographs(
            model,
            [publication.dataset, *publication.radiographs],
            side=model.input_shape[1],
            channels=model.input_shape[3],
            max_pixels=publication.max_pixels,
            progress=self._progress,
        )
        if fit is None:
            return mapped or model
        self._sections["outlier"] = fit.document
        return with_outlier_score(mapped or model, fit.score)

    def _load_valid(self) -> Pictures:
        publication, description = self._publication, self._publication.run.description
        samples = publication.dataset.split("valid")
        self._progress.begin("decoding valid", len(samples))
        return load_pictures(
            samples,
            tuple(description["labels"]),
            side=description["parameters"]["image_size"],
            channels=1,
            max_pixels=publication.max_pixels,
            advance=self._progress.step,
        )

    def _outputs(self, engine: str, pictures: Pictures) -> Outputs:
        self._write_card()
        return run_all(load_classifier(Bundle.open(self._staging), engine), pictures.images, self._progress)

    def _compile(self, network: Any, valid: Pictures, reference: Outputs) -> None:
        """Keep the smallest file that answers as the trained network does on the validation split."""
        tried: dict[str, Any] = {}
        for precision in PRECISIONS:
            (self._staging / "model.tflite").write_bytes(compile_litert(network, precision))
            compiled = self._outputs(ENGINE, valid)
            found = difference(reference, compiled, Bundle.open(self._staging).card)
            size = (self._staging / "model.tflite").stat().st_size
            tried[precision] = {**vars(found), "bytes": size, "accepted": found.accepted}
            self._sections["compiled"] = {"precision": precision, "compared_on": "valid", "tried": tried}
            self._sections["engine_difference"] = found.probability
            if found.accepted:
                return
        refuse_difference(found)

    def _measure(self, basis: Basis) -> None:
        publication, run = self._publication, self._publication.run
        self._write_card()
        bundle = Bundle.open(self._staging)
        if self._sections["outlier"]:
            noticed = count_noticed(load_classifier(bundle, ENGINE), self._progress)
            self._sections["outlier"] |= {"noticed": noticed, "pictures_of_each_kind": STRANGERS}
        if basis.out_of_fold is not None:
            self._metrics[CROSS_VALIDATED] = cross_validated_figures(
                basis.out_of_fold, publication.dataset, bundle.card, decides=publication.decides
            )
        splits = [split for split in ("valid", "test") if split in publication.dataset.counts()]
        if run.description["parameters"].get("trains_on_valid"):
            splits.remove("valid")
        for split in splits:
            if split == "test":
                run.count_test_read()
            evaluation = evaluate_bundle(
                bundle,
                publication.dataset,
                split,
                engine=ENGINE,
                max_pixels=publication.max_pixels,
                progress=self._progress,
            )
            self._metrics[split] = evaluation.figures
            if parts := subgroups(evaluation):
                self._sections["subgroups"] = parts  # of the last split, which is test if there is one

    def _write_card(self) -> dict[str, Any]:
        run, publication = self._publication.run, self._publication
        card = card_document(
            name=publication.name,
            version=publication.version,
            title=run.description["title"],
            run=run.description,
            kept=run.best_row,
            files={path.name: sha256_of(path) for path in sorted(self._staging.glob("model.*"))},
            sections=self._sections,
            metrics=self._metrics,
            test_reads=run.test_reads,
        )
        (self._staging / CARD_FILE).write_text(json.dumps(card, indent=1) + "\n")
        return card


def subgroups(evaluation: Evaluation) -> dict[str, Any]:
    """Return the figures of parts of a split, for the known shortcuts that its manifest tells of."""
    known = {name for sample in evaluation.samples for name in sample.facts}
    found: dict[str, Any] = {}
    for column in (column for column in _BY if column in known):
        found[f"by {column}"] = figures_by(evaluation.judged, evaluation.samples, column)
    for rule in (rule for rule in _WITHOUT if rule.column in known):
        staying, _ = leave_out(evaluation.samples, [rule])
        kept = {id(sample) for sample in staying}
        mask = np.array([id(sample) in kept for sample in evaluation.samples])
        found[f"without {rule.column} = {rule.value}"] = short_figures(evaluation.judged.take(mask))
    return {"split": evaluation.figures["split"], **found} if found else {}
