"""Let a network learn what other networks answer, beside the truth: knowledge distillation.

A small network that is shown how likely a larger one, or several, find each class learns more from a picture than its
label alone says, and can learn from pictures without a label. With folds, each fold's network is taught by those that
have not seen the fold either: its out-of-fold predictions stay honest.

Source: Hinton et al. 2015, Distilling the Knowledge in a Neural Network; Beyer et al. 2022, Knowledge distillation: A
good teacher is patient and consistent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.bundle import sha256_of
from core.errors import ConfigurationError
from training.cross_validated import SPLITS
from training.data import Dataset
from training.metrics import Floats, Indices
from training.outlier_fit import read_radiographs
from training.pictures import Pictures, load_pictures
from training.progress import Progress
from training.run_folder import RunFolder
from training.sample import Sample

#: Share of the teachers' answer in what is learnt of a labelled picture; the truth has the rest. Our choice.
_SHARE = 0.5
_TAUGHT_FILE = "taught.npy"


@dataclass(frozen=True)
class Teaching:
    """What `train --teacher` was asked for."""

    teachers: tuple[RunFolder, ...]
    unlabelled: tuple[Sample, ...] = ()  # of the other task, or of none: what they show is for the teachers to say

    def document(self) -> dict[str, Any]:
        """Return what `run.json` holds of it."""
        return {
            "teachers": [
                {"recipe": run.description["recipe"], "sha256": sha256_of(run.best_file)} for run in self.teachers
            ],
            "unlabelled": len(self.unlabelled),
        }


def find_teaching(
    teachers: Sequence[Path], unlabelled: Sequence[Path], *, folds: int, dataset: Dataset, max_pixels: int
) -> Teaching | None:
    """Open the teachers' runs and choose what they name; None without teachers.

    Args:
        teachers: Run folders.
        unlabelled: Data sets; their training split is taken, of the binary question the fractured half of it.
        folds: Of the student's run; 0 without.
        dataset: The student's.
        max_pixels: Largest picture that is decoded.

    Raises:
        ConfigurationError: A teacher has seen other data, or images that are to judge the student; unlabelled data
            have no teacher, or cannot be read.
    """
    if not teachers:
        if unlabelled:
            raise ConfigurationError("--unlabelled needs --teacher: nobody else says what those radiographs show.")
        return None
    runs = tuple(RunFolder.open(folder) for folder in teachers)
    for run in runs:
        if run.description["data"]["sha256"] != dataset.hashes():
            raise ConfigurationError(f"The teacher in {run.folder} was trained on other data or other splits.")
        if run.description["parameters"].get("folds", 0) != folds:
            raise ConfigurationError(
                f"The teacher in {run.folder} was trained with {run.description['parameters'].get('folds', 0)} folds, "
                f"the student with {folds}: it would have seen images that judge the student."
            )
    samples = [
        sample
        for folder in unlabelled
        for sample in read_radiographs(folder, max_pixels).split("train")
        if sample.label != "not-fractured"
    ]
    return Teaching(runs, tuple(samples))


class Lessons:
    """The pictures of a run and what its teachers say of them, for each fold."""

    def __init__(
        self,
        teaching: Teaching,
        samples: Sequence[Sample],
        labels: tuple[str, ...],
        side: int,
        max_pixels: int,
        progress: Progress,
    ) -> None:
        """Decode all pictures at the teachers' input sides, the unlabelled ones at the student's too."""
        self._teaching = teaching
        self._progress = progress

        def load(samples: Sequence[Sample], side: int, labels: tuple[str, ...]) -> NDArray[np.uint8]:
            progress.begin(f"decoding at {side} px", len(samples))
            loaded = load_pictures(samples, labels, side=side, channels=1, max_pixels=max_pixels, advance=progress.step)
            return loaded.images

        further = tuple(sorted({sample.label for sample in teaching.unlabelled}))
        sides = {run.description["parameters"]["image_size"] for run in teaching.teachers}
        self._shown = {each: (load(samples, each, labels), load(teaching.unlabelled, each, further)) for each in sides}
        self._unlabelled = load(teaching.unlabelled, side, further)

    def add(self, pictures: Pictures, indices: Indices, run: RunFolder, fold: int | None) -> Pictures:
        """Return labelled pictures with what is to be learnt of them, and the unlabelled ones after them.

        Args:
            pictures: Some of the run's labelled ones.
            indices: (N,) which of them they are.
            run: Of the student, or of its fold; keeps the teachers' answers.
            fold: From 1; None for the network that is kept.
        """
        kept = run.folder / _TAUGHT_FILE
        if not kept.is_file():
            np.save(kept, self._ask(indices, fold))
        answers = np.load(kept).astype(np.float32)
        known, further = np.split(answers, [len(indices)])
        truth = np.eye(answers.shape[1], dtype=np.float32)[pictures.targets]
        return replace(
            pictures,
            images=np.concatenate([pictures.images, self._unlabelled]),
            targets=np.concatenate([pictures.targets, further.argmax(axis=1)]),
            clusters=(*pictures.clusters, *(sample.cluster for sample in self._teaching.unlabelled)),
            truth=np.concatenate([_SHARE * known + (1 - _SHARE) * truth, further]),
        )

    def _ask(self, indices: Indices, fold: int | None) -> Floats:
        import keras

        answers = []
        for teacher in self._teaching.teachers:
            part = teacher if fold is None else RunFolder.open(teacher.folder / f"fold-{fold}")
            self._progress.begin(f"asking {teacher.description['recipe']}", 1)
            network: Any = keras.saving.load_model(part.best_file, compile=False, safe_mode=True)
            labelled, further = self._shown[teacher.description["parameters"]["image_size"]]
            shown = np.concatenate([labelled[indices], further])
            answers.append(network.predict(shown, batch_size=16, verbose=0))
            self._progress.step()
        return np.asarray(np.mean(answers, axis=0), dtype=np.float64)


def samples_of(dataset: Dataset, *, folds: int) -> tuple[Sample, ...]:
    """Return the samples that a run learns from, in the order of its pictures."""
    return tuple(sample for name in (SPLITS if folds else SPLITS[:1]) for sample in dataset.split(name))
