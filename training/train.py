"""Train a recipe's network, epoch by epoch, in a run folder that can be interrupted at any moment."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from core.bundle import sha256_of
from core.preprocessing import GEOMETRY
from training.backbones import set_trained_layers
from training.curves import draw_curves
from training.data import Dataset
from training.epoch import run_epoch
from training.labels import labels_of_task
from training.pictures import Pictures, load_pictures
from training.progress import Progress
from training.recipe import Phase, Recipe
from training.run_folder import RunFolder
from training.schedule import best_epoch, next_epoch
from training.solving import Features, solve_network
from training.teaching import Lessons, Teaching, samples_of

#: Weakest learning rate of a phase, as a share of its first.
_LAST_SHARE = 0.01
_PACKAGES = ("keras", "tensorflow", "torch", "numpy", "pillow", "ai-edge-litert")


@dataclass(frozen=True)
class Options:
    """What the user chose; the recipe already carries the user's epochs, batch size and image size."""

    recipe: Recipe
    weights: str  # imagenet, none or a file
    seed: int
    max_pixels: int  # largest picture that is decoded
    folds: int = 0  # for out-of-fold predictions; then the kept network learns from train and valid alike
    precision: str = "float32"  # or "mixed_bfloat16": faster where the processor has such arithmetic
    teaching: Teaching | None = None  # other networks' answers to learn from


def describe(options: Options, dataset: Dataset) -> dict[str, Any]:
    """Return the document `run.json`: all that is needed to make the run again."""
    import keras

    recipe = options.recipe
    weights = Path(options.weights)
    return {
        "recipe": recipe.name,
        "title": recipe.title,
        "task": recipe.task,
        "labels": list(labels_of_task(recipe.task)),
        "parameters": {
            "image_size": recipe.side,
            "batch_size": recipe.batch_size,
            "weights": weights.name,
            "weights_sha256": sha256_of(weights) if weights.is_file() else None,
            "seed": options.seed,
            "precision": options.precision,
            "backend": keras.config.backend(),
            "folds": options.folds,
            "trains_on_valid": options.folds > 0,
            "phases": [asdict(phase) for phase in recipe.phases],
            "augmentation": asdict(recipe.augmentation),
            "mixup": recipe.mixup,
            "patience": recipe.patience,
            "monitor": recipe.monitor,
            "weight_decay": recipe.weight_decay,
            "label_smoothing": recipe.label_smoothing,
            "class_weights": recipe.class_weights,
            "geometry": GEOMETRY,
            **({} if recipe.solving is None else {"solving": asdict(recipe.solving)}),
            **(options.teaching.document() if options.teaching else {}),
        },
        "data": dataset.description(),
        "data_folder": str(dataset.folder),
        "data_choices": dataset.choices.document(),
        "versions": {"python": platform.python_version()} | _installed(_PACKAGES),
    }


def train(options: Options, dataset: Dataset, run: RunFolder, progress: Progress) -> None:
    """Train until the last phase ends; goes on where the run folder stands. The test split is not touched.

    Raises:
        ConfigurationError: The data lack a split, an image cannot be decoded, or weights cannot be loaded.
    """
    if next_epoch(run.rows, options.recipe) is not None:
        training, valid = (load_split(name, options, dataset, progress) for name in ("train", "valid"))
        if lessons := begin_lessons(options, dataset, progress):
            training = lessons.add(training, np.arange(len(training.targets)), run, None)
        fit(options, training, valid, run, progress)


def fit(
    options: Options,
    training: Pictures,
    valid: Pictures | None,
    run: RunFolder,
    progress: Progress,
    features: Features | None = None,
) -> None:
    """Train on pictures until the last phase ends; goes on where the run folder stands.

    Args:
        options: Recipe, weights, seed.
        training: What is learnt.
        valid: What judges after each epoch; None if the recipe's monitor is LAST_EPOCH.
        run: Holds the state.
        progress: Is told of each batch.
        features: Of a recipe that is solved for, if another fold has measured them.

    Raises:
        ConfigurationError: Weights cannot be loaded.
    """
    import keras

    recipe = options.recipe
    if recipe.solving is not None:
        _solve(options, training, valid, run, progress, features)
        return
    keras.utils.set_random_seed(options.seed)
    # Before the first epoch the weights come from outside, afterwards from the run's own state.
    model = _build(options, "none" if run.rows else options.weights)
    steps_per_epoch = -(-len(training.images) // recipe.batch_size)
    compiled = None
    while (position := next_epoch(run.rows, recipe)) is not None:
        index, _ = position
        if index != compiled:
            set_trained_layers(model, recipe.phases[index].backbone_layers, pretrained=options.weights != "none")
            _compile(model, recipe, recipe.phases[index], steps_per_epoch)
            _restore(model, recipe, run, index)
            compiled = index
        row = run_epoch(
            model,
            recipe,
            seed=options.seed,
            phase=recipe.phases[index].name,
            epoch=len(run.rows),
            training=training,
            valid=valid,
            progress=progress,
        )
        best = best_epoch([*run.rows, row], recipe) == len(run.rows)
        run.record_epoch(row, model, best=_bare(options, model) if best else None)


def begin_features(options: Options, progress: Progress) -> Features | None:
    """Make what measures the features of a recipe that is solved for; None for one that is trained in epochs.

    Raises:
        ConfigurationError: Weights cannot be loaded.
    """
    import keras

    if options.recipe.solving is None:
        return None
    keras.utils.set_random_seed(options.seed)
    return Features(_build(options, options.weights), options.recipe, options.seed, progress)


def _solve(
    options: Options,
    training: Pictures,
    valid: Pictures | None,
    run: RunFolder,
    progress: Progress,
    features: Features | None,
) -> None:
    import keras

    if run.rows:
        return
    # A backbone that begins with nothing has to be the one that was measured.
    keras.utils.set_random_seed(options.seed)
    model = _build(options, options.weights)
    if features is None:
        features = Features(model, options.recipe, options.seed, progress)
    row = solve_network(model, options.recipe, features, training, valid, progress)
    run.record_epoch(row, model, best=_bare(options, model))


def begin_lessons(options: Options, dataset: Dataset, progress: Progress) -> Lessons | None:
    """Decode what teachers are asked about; None without teachers.

    Raises:
        ConfigurationError: An image cannot be decoded.
    """
    if options.teaching is None:
        return None
    return Lessons(
        options.teaching,
        samples_of(dataset, folds=options.folds),
        labels_of_task(options.recipe.task),
        side=options.recipe.side,
        max_pixels=options.max_pixels,
        progress=progress,
    )


def finish(run: RunFolder, recipe: Recipe) -> dict[str, Any]:
    """Draw the run's curves and return the row of its best epoch."""
    best = best_epoch(run.rows, recipe)
    draw_curves(run.rows, best, run.folder / "curves.png")
    return run.rows[best]


def _installed(packages: Sequence[str]) -> dict[str, str]:
    found = {}
    for name in packages:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _build(options: Options, weights: str) -> Any:
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(options.precision)
    try:
        return options.recipe.build(options.recipe.side, len(labels_of_task(options.recipe.task)), weights)
    finally:
        keras.config.set_dtype_policy(before)


def _bare(options: Options, model: Any) -> Any:
    """Return the network in float32 and never compiled, so that its file carries no optimiser state."""
    import keras

    if options.precision == "float32":
        return keras.Model(model.inputs, model.outputs, name=model.name)
    bare = options.recipe.build(options.recipe.side, model.output_shape[-1], "none")
    bare.set_weights(model.get_weights())
    return bare


def load_split(name: str, options: Options, dataset: Dataset, progress: Progress) -> Pictures:
    """Decode one split for the recipe's network.

    Raises:
        ConfigurationError: The data lack the split, or an image cannot be decoded.
    """
    labels = labels_of_task(options.recipe.task)
    samples = dataset.split(name)
    progress.begin(f"decoding {name}", len(samples))
    return load_pictures(
        samples, labels, side=options.recipe.side, channels=1, max_pixels=options.max_pixels, advance=progress.step
    )


def _compile(model: Any, recipe: Recipe, phase: Phase, steps_per_epoch: int) -> None:
    import keras

    falling = keras.optimizers.schedules.CosineDecay(
        phase.learning_rate, decay_steps=phase.epochs * steps_per_epoch, alpha=_LAST_SHARE
    )
    model.compile(
        optimizer=keras.optimizers.AdamW(falling, weight_decay=recipe.weight_decay),
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing),
        metrics=["accuracy"],
        jit_compile=False,  # XLA on a CPU is several times slower
    )
    model.optimizer.build(model.trainable_variables)


def _restore(model: Any, recipe: Recipe, run: RunFolder, index: int) -> None:
    """Load the last state. Across the border of two phases only the network's part of it fits: the optimiser is new."""
    import keras

    if run.state_file is None:
        return
    if run.rows[-1]["phase"] == recipe.phases[index].name:
        model.load_weights(run.state_file)
    else:
        keras.Model(model.inputs, model.outputs).load_weights(run.state_file)
