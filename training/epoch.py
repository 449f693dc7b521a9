"""One epoch: every training picture once, then the verdict on the validation split."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.augmentation import augmenter, mix
from training.metrics import figures
from training.pictures import Pictures
from training.progress import Progress
from training.recipe import Recipe


def run_epoch(
    model: Any,
    recipe: Recipe,
    *,
    seed: int,
    phase: str,
    epoch: int,
    training: Pictures,
    valid: Pictures | None,
    progress: Progress,
) -> dict[str, Any]:
    """Train once over all pictures and judge on the validation split.

    Args:
        model: Compiled; it is changed.
        recipe: Gives batch size, augmentation and weights of classes.
        seed: Of the run; with `epoch` it decides order, augmentation and dropout, so that a resumed run repeats them.
        phase: Its name.
        epoch: From 0, over all phases.
        training: What is learnt.
        valid: What judges; None leaves the row without such figures.
        progress: Is told of each batch.

    Returns:
        The history's row.
    """
    started = time.monotonic()
    generator = np.random.default_rng([seed, epoch])
    order = generator.permutation(len(training.images))
    batches = np.array_split(order, range(recipe.batch_size, len(order), recipe.batch_size))
    change = augmenter(recipe.augmentation, seed=seed * 10_000 + epoch)
    truth = training.truth
    if truth is None:
        truth = np.eye(model.output_shape[-1], dtype=np.float32)[training.targets]
    weights = _sample_weights(training, recipe)
    learning_rate = float(model.optimizer.learning_rate)
    progress.begin(f"epoch {epoch + 1}, {phase}", len(batches))
    _reseed(model, seed * 10_000 + epoch)
    loss = hits = 0.0
    for batch in batches:
        images, classes = mix(change(training.images[batch]), truth[batch], recipe.mixup, generator)
        logs = model.train_on_batch(images, classes, sample_weight=weights[batch], return_dict=True)
        # The figures are this batch's alone.
        loss += float(logs["loss"]) * len(batch)
        hits += float(logs["accuracy"]) * len(batch)
        progress.step()
    return {
        "epoch": epoch + 1,
        "phase": phase,
        "learning_rate": learning_rate,
        "train_loss": loss / len(order),  # as optimised: weighted, smoothed, on changed pictures
        "train_accuracy": hits / len(order),
        **({} if valid is None else _judge(model, valid)),
        "seconds": round(time.monotonic() - started, 2),
    }


def _judge(model: Any, valid: Pictures) -> dict[str, float]:
    found = figures(np.asarray(model.predict(valid.images, verbose=0), dtype=np.float64), valid.targets)
    names = {"valid_loss": "log_loss", "valid_accuracy": "accuracy", "valid_macro_f1": "macro_f1"}
    names |= {"valid_roc_auc": "roc_auc"} if "roc_auc" in found else {}
    return {shown: found[name] for shown, name in names.items()}


def _sample_weights(training: Pictures, recipe: Recipe) -> NDArray[np.float32]:
    """Return (N,) float32 with mean 1; with class weights every class that occurs weighs the same in all."""
    if not recipe.class_weights:
        return np.ones(len(training.targets), dtype=np.float32)
    _, class_of, images = np.unique(training.targets, return_inverse=True, return_counts=True)
    weights: NDArray[np.float32] = (len(training.targets) / (len(images) * images[class_of])).astype(np.float32)
    return weights


def _reseed(model: Any, seed: int) -> None:
    """Set the random state of dropout layers; Keras does not save it, and a resumed epoch should draw the same."""
    for layer in model.layers:
        if hasattr(layer, "layers"):
            _reseed(layer, seed)
        generator = getattr(layer, "seed_generator", None)
        if generator is not None:
            generator.state.assign([seed, 0])
