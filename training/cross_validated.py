"""Calibrate a run, and judge the calibration itself on images that fitted none of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from core.answers import Answer
from core.bundle import ModelCard
from core.engines.outputs import Outputs
from core.errors import ConfigurationError
from training.calibrate import Calibration, fit_calibration
from training.data import Dataset
from training.evaluate import sound_answers, split_facts
from training.folds import OutOfFold, each_fold
from training.judged import Judged, all_figures
from training.metrics import Floats, Indices
from training.run_folder import RunFolder
from training.sample import Sample

#: The name of these figures on a card, where others have the name of a split.
CROSS_VALIDATED = "cross-validated"
SPLITS = ("train", "valid")


@dataclass(frozen=True)
class Basis:
    """Predictions for images that did not train the network, to calibrate on."""

    fitted_on: str  # in words
    probabilities: Floats  # (N, classes) uncalibrated
    targets: Indices  # (N,)
    clusters: tuple[str, ...]  # (N,)
    out_of_fold: OutOfFold | None  # where they come from; None: the validation split

    def fit(self, *, decides: bool) -> Calibration:
        """Fit on all of them; see `fit_calibration`."""
        return fit_calibration(self.probabilities, self.targets, decides=decides)


def out_of_fold_basis(run: RunFolder, dataset: Dataset) -> Basis | None:
    """Return a run's out-of-fold predictions; None if it was made without folds.

    Raises:
        ConfigurationError: They are damaged, are of other images, or are missing though the network has seen the
            validation split, so that nothing is left to calibrate on.
    """
    if not run.out_of_fold_file.is_file():
        if run.description["parameters"].get("trains_on_valid"):
            raise ConfigurationError(
                f"The run in {run.folder} learnt from the validation split too, but has no out-of-fold predictions; "
                "repeat its command until it ends."
            )
        return None
    found = OutOfFold.load(run.out_of_fold_file)
    if sorted(found.sha256) != sorted(sample.sha256 for sample in _samples(dataset)):
        raise ConfigurationError(f"{run.out_of_fold_file} is about other images than train and valid of the run.")
    folds = int(found.folds.max()) + 1
    return Basis(
        fitted_on=f"out-of-fold, {folds} folds over train and valid",
        probabilities=found.probabilities,
        targets=found.targets,
        clusters=found.clusters,
        out_of_fold=found,
    )


def cross_validated_figures(found: OutOfFold, dataset: Dataset, card: ModelCard, *, decides: bool) -> dict[str, Any]:
    """Return the figures of `evaluate` for the out-of-fold predictions.

    Each fold is calibrated with what the other folds give, so that neither network nor calibration has seen an image
    that it is judged on. The calibration on the card is fitted on all folds.
    """
    plain = replace(card, outlier_threshold=None)
    given: list[Answer | None] = [None] * len(found.targets)
    for rest, held_out in each_fold(found.folds):
        calibration = fit_calibration(found.probabilities[rest], found.targets[rest], decides=decides)
        answers = sound_answers(Outputs(found.probabilities[held_out]), calibration.on(plain))
        for index, answer in zip(held_out.tolist(), answers, strict=True):
            given[index] = answer
    judged = Judged.of([answer for answer in given if answer], plain, found.targets, found.clusters)
    return {**split_facts(CROSS_VALIDATED, _samples(dataset)), **all_figures(judged, plain)}


def valid_basis(probabilities: np.ndarray, targets: Indices, clusters: Sequence[str]) -> Basis:
    """Return what a run without folds is calibrated on."""
    return Basis("valid", probabilities.astype(np.float64), targets, tuple(clusters), None)


def _samples(dataset: Dataset) -> tuple[Sample, ...]:
    return tuple(sample for name in SPLITS for sample in dataset.split(name))
