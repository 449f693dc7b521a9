"""Train with cluster-wise folds: honest predictions of every train and valid image, and a network that learnt from all.

Each fold's network trains for the recipe's whole schedule on the other folds and then predicts its fold once; nothing
is chosen on the fold. The network that is kept follows the same schedule on train and valid together, so the
out-of-fold figures are those of its recipe with a fifth of the pictures missing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from training.data import Dataset
from training.folds import OutOfFold, each_fold, fold_of_each
from training.metrics import Floats, Indices
from training.pictures import Pictures
from training.progress import Progress
from training.recipe import LAST_EPOCH, Recipe
from training.run_folder import RunFolder
from training.solving import Features, answers_from_features
from training.teaching import Lessons
from training.train import Options, begin_features, begin_lessons, fit, load_split

SPLITS = ("train", "valid")


def without_early_stopping(recipe: Recipe) -> Recipe:
    """Return the recipe for training without a split that judges."""
    return replace(recipe, monitor=LAST_EPOCH, patience=sum(phase.epochs for phase in recipe.phases))


def cross_validate(options: Options, dataset: Dataset, run: RunFolder, progress: Progress) -> None:
    """Train one network a fold, keep their predictions in the run folder, then train the network that is kept.

    Goes on where an interrupted run stands. The test split is not touched.

    Raises:
        ConfigurationError: The data lack a split or have too few sources, an image cannot be decoded, or weights
            cannot be loaded.
    """
    pictures = _join([load_split(name, options, dataset, progress) for name in SPLITS])
    lessons = begin_lessons(options, dataset, progress)
    features = None if run.rows else begin_features(options, progress)
    if features is not None:
        features.of(pictures.images)  # all at once, whatever has to be learnt of them
    if not run.out_of_fold_file.is_file():
        digests = tuple(sample.sha256 for name in SPLITS for sample in dataset.split(name))
        _out_of_fold(options, pictures, digests, lessons, run, progress, features).save(run.out_of_fold_file)
    everything = np.arange(len(pictures.targets))
    fit(options, _lesson(pictures, everything, lessons, run, None), None, run, progress, features)


def _out_of_fold(
    options: Options,
    pictures: Pictures,
    digests: tuple[str, ...],
    lessons: Lessons | None,
    run: RunFolder,
    progress: Progress,
    features: Features | None,
) -> OutOfFold:
    import keras

    folds = fold_of_each(pictures.targets, pictures.clusters, options.folds)
    predicted: dict[bool, list[Floats]] = {False: [], True: []}
    held: list[Indices] = []
    for number, (rest, held_out) in enumerate(each_fold(folds), start=1):
        parameters = run.description["parameters"] | {"fold": number}
        part = RunFolder.start_or_resume(run.folder / f"fold-{number}", run.description | {"parameters": parameters})
        fit(options, _lesson(pictures, rest, lessons, part, number), None, part, progress, features)
        progress.begin(f"predicting fold {number} of {options.folds}", 2)
        network: Any = keras.saving.load_model(part.best_file, compile=False, safe_mode=True)
        held.append(held_out)
        images = pictures.images[held_out]
        known = None if features is None else answers_from_features(network, features, images)
        for mirrored in (False, True):
            if known is None:
                answers = network.predict(images[:, :, ::-1] if mirrored else images, batch_size=16, verbose=0)
            else:
                answers = known[int(mirrored)]
            predicted[mirrored].append(np.asarray(answers, dtype=np.float64))
            progress.step()
    order = np.argsort(np.concatenate(held))
    return OutOfFold(
        sha256=digests,
        clusters=pictures.clusters,
        folds=folds,
        targets=pictures.targets,
        probabilities=np.concatenate(predicted[False])[order],
        mirrored=np.concatenate(predicted[True])[order],
    )


def _join(parts: list[Pictures]) -> Pictures:
    return Pictures(
        images=np.concatenate([part.images for part in parts]),
        targets=np.concatenate([part.targets for part in parts]),
        clusters=tuple(cluster for part in parts for cluster in part.clusters),
    )


def _lesson(
    pictures: Pictures, indices: Indices, lessons: Lessons | None, run: RunFolder, fold: int | None
) -> Pictures:
    taken = Pictures(
        images=pictures.images[indices],
        targets=pictures.targets[indices],
        clusters=tuple(pictures.clusters[index] for index in indices),
    )
    return lessons.add(taken, indices, run, fold) if lessons else taken
