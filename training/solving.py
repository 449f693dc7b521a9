"""Networks whose last layer alone is learnt: features are measured once, and the layer is solved for.

The backbone never changes, so several views of each picture (as it is, mirrored, changed at random) are sent through it
once, for all folds alike; penalised logistic regression then has one best solution, which L-BFGS finds in seconds.
Trained in epochs, the same network sends every picture through its backbone in each epoch of each fold.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax

from training.augmentation import Augmentation, augmenter
from training.compile import converter_of
from training.heads import FIRST_PROBABILITY, POOL_NORM, PROBABILITIES
from training.metrics import figures
from training.pictures import Pictures
from training.progress import Progress
from training.recipe import Recipe

Floats32 = NDArray[np.float32]
#: Steps of the solver at most; on bone-break it is done within 60.
_STEPS = 200
#: Pictures that are changed at once.
_CHANGED_AT_ONCE = 64


@dataclass(frozen=True)
class Layer:
    """What has been solved for. Features are standardised first: less `mean`, divided by the root of `variance`."""

    mean: Floats32  # (features,)
    variance: Floats32  # (features,)
    weights: Floats32  # (features, classes)
    bias: Floats32  # (classes,)


class Features:
    """The features of pictures in several views. Each picture is measured once, in however many folds it occurs."""

    def __init__(self, model: Any, recipe: Recipe, seed: int, progress: Progress) -> None:
        """Compile the network up to the layer that is solved for.

        Args:
            model: The recipe's network, its backbone filled.
            recipe: One that says how many views.
            seed: Decides how views are changed.
            progress: Is told of each view.
        """
        import keras

        if recipe.solving is None:
            raise ValueError(f"the recipe {recipe.name} is not solved for")
        self.penalty = recipe.solving.penalty
        self._views = recipe.solving.views
        self._augmentation = recipe.augmentation
        self._seed = seed
        self._progress = progress
        self._network = bytes(converter_of(keras.Model(model.input, model.get_layer(POOL_NORM).input)).convert())
        self._known: dict[bytes, Floats32] = {}

    def of(self, images: NDArray[np.uint8]) -> Floats32:
        """Return (N, views, features) of (N, side, side, 1) uint8 pictures."""
        keys = [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in images]
        fresh = list({key: index for index, key in enumerate(keys) if key not in self._known}.values())
        if fresh:
            found = self._measure(images[fresh])
            self._known |= {keys[index]: rows for index, rows in zip(fresh, found, strict=True)}
        return np.stack([self._known[key] for key in keys])

    def _measure(self, images: NDArray[np.uint8]) -> Floats32:
        self._progress.begin("measuring features", self._views)
        views = []
        for view in _views(images, self._views, self._augmentation, self._seed):
            views.append(_run(self._network, view))
            self._progress.step()
        return np.stack(views, axis=1)


def _views(
    images: NDArray[np.uint8], number: int, augmentation: Augmentation, seed: int
) -> Iterator[NDArray[np.uint8]]:
    if number > 0:
        yield images
    if number > 1:
        yield images[:, :, ::-1]
    for view in range(2, number):
        change = augmenter(augmentation, seed * 10_000 + view)
        parts = range(0, len(images), _CHANGED_AT_ONCE)
        yield np.concatenate([change(images[part : part + _CHANGED_AT_ONCE]) for part in parts])


def _run(network: bytes, images: NDArray[np.uint8]) -> Floats32:
    """Return (N, features); each core takes a share of the pictures. LiteRT lets go of Python's lock meanwhile."""
    from ai_edge_litert.interpreter import Interpreter

    def run(share: NDArray[np.uint8]) -> list[Floats32]:
        interpreter = Interpreter(model_content=network, num_threads=1)
        interpreter.allocate_tensors()
        entry, end = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
        found = []
        for image in share:
            interpreter.set_tensor(entry, image[np.newaxis])
            interpreter.invoke()
            found.append(interpreter.get_tensor(end)[0])
        return found

    cores = len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(cores) as pool:
        shares = pool.map(run, (share for share in np.array_split(images, cores) if len(share)))
    return np.array([row for share in shares for row in share], dtype=np.float32)


def solve(features: Floats32, truth: Floats32, penalty: float, epsilon: float = 0.0) -> Layer:
    """Find the layer with the least penalised log loss.

    Args:
        features: (N, features).
        truth: (N, classes), rows sum to 1; shares of several classes are allowed.
        penalty: For a thousand features, the weight of the sum of the layer's squared weights; in proportion for
            more or less.
        epsilon: What the network's own normalisation adds to the variance.
    """
    mean, variance = features.mean(axis=0), features.var(axis=0)
    standard = ((features - mean) / np.sqrt(variance + max(epsilon, 1e-12))).astype(np.float32)
    width, classes = standard.shape[1], truth.shape[1]
    weight = penalty * width / 1000

    def loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weights, bias = flat[:-classes].reshape(width, classes).astype(np.float32), flat[-classes:]
        found = log_softmax(standard @ weights + bias, axis=1)
        value = -float(np.mean(np.sum(truth * found, axis=1))) + weight * float(np.sum(weights**2, dtype=np.float64))
        error = ((np.exp(found) - truth) / len(truth)).astype(np.float32)
        slope = standard.T @ error + 2 * weight * weights
        return value, np.concatenate([slope.ravel(), error.sum(axis=0)]).astype(np.float64)

    start = np.zeros(width * classes + classes)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": _STEPS, "ftol": 1e-7}).x
    return Layer(
        mean.astype(np.float32),
        variance.astype(np.float32),
        found[:-classes].reshape(width, classes).astype(np.float32),
        found[-classes:].astype(np.float32),
    )


def solve_network(
    model: Any, recipe: Recipe, features: Features, training: Pictures, valid: Pictures | None, progress: Progress
) -> dict[str, Any]:
    """Solve for the last layer of a network and put it in.

    Args:
        model: The recipe's network, its backbone filled; it is changed.
        recipe: Names its phase.
        features: Measures this network's, and knows the penalty.
        training: What is learnt.
        valid: What judges; None leaves the row without such figures.
        progress: Is told of each step.

    Returns:
        The history's row.
    """
    started = time.monotonic()
    truth = training.truth
    if truth is None:
        truth = np.eye(model.output_shape[-1], dtype=np.float32)[training.targets]
    measured = features.of(training.images)
    views = measured.shape[1]
    progress.begin("solving", 1)
    epsilon = float(model.get_layer(POOL_NORM).epsilon)
    layer = solve(measured.reshape(-1, measured.shape[-1]), np.repeat(truth, views, axis=0), features.penalty, epsilon)
    put_in(model, layer)
    progress.step()
    answers = _answers(layer, measured[:, 0], epsilon)
    return {
        "epoch": 1,
        "phase": recipe.phases[0].name,
        "train_loss": float(-np.mean(np.sum(truth * np.log(np.maximum(answers, 1e-12)), axis=1))),  # without penalty
        "train_accuracy": float(np.mean(answers.argmax(axis=1) == training.targets)),
        **({} if valid is None else _judge(layer, features, valid, epsilon)),
        "seconds": round(time.monotonic() - started, 2),
    }


def put_in(model: Any, layer: Layer) -> None:
    """Fill the normalisation and the last layer of a network that ends as `heads.linear_head` does."""
    model.get_layer(POOL_NORM).set_weights(
        [np.ones_like(layer.mean), np.zeros_like(layer.mean), layer.mean, layer.variance]
    )
    names = {each.name for each in model.layers}
    if FIRST_PROBABILITY in names:
        # A sigmoid sees the difference of the two.
        difference = layer.weights[:, :1] - layer.weights[:, 1:]
        model.get_layer(FIRST_PROBABILITY).set_weights([difference, layer.bias[:1] - layer.bias[1:]])
    else:
        model.get_layer(PROBABILITIES).set_weights([layer.weights, layer.bias])


def answers_from_features(model: Any, features: Features, images: NDArray[np.uint8]) -> NDArray[np.float64] | None:
    """Return what a solved network answers, without sending pictures through its backbone once more.

    Args:
        model: The network, solved.
        features: Has measured the pictures, as they are first and mirrored next.
        images: (N, side, side, 1) uint8.

    Returns:
        (2, N, classes): of the pictures and of their mirror images. None where too few views were measured.
    """
    measured = features.of(images)
    if measured.shape[1] < 2:
        return None
    norm = model.get_layer(POOL_NORM)
    _, _, mean, variance = norm.get_weights()  # factor and addition are 1 and 0, see `put_in`
    if any(layer.name == FIRST_PROBABILITY for layer in model.layers):
        weights, bias = model.get_layer(FIRST_PROBABILITY).get_weights()
        # A sigmoid of one number is a softmax of it and 0.
        weights, bias = np.hstack([weights, np.zeros_like(weights)]), np.append(bias, np.zeros_like(bias))
    else:
        weights, bias = model.get_layer(PROBABILITIES).get_weights()
    layer = Layer(mean, variance, weights, bias)
    return np.stack([_answers(layer, measured[:, view], float(norm.epsilon)) for view in range(2)])


def _answers(layer: Layer, features: Floats32, epsilon: float) -> NDArray[np.float64]:
    standard = (features - layer.mean) / np.sqrt(layer.variance + epsilon)
    return np.asarray(np.exp(log_softmax(standard @ layer.weights + layer.bias, axis=1)), dtype=np.float64)


def _judge(layer: Layer, features: Features, valid: Pictures, epsilon: float) -> dict[str, float]:
    found = figures(_answers(layer, features.of(valid.images)[:, 0], epsilon), valid.targets)
    names = {"valid_loss": "log_loss", "valid_accuracy": "accuracy", "valid_macro_f1": "macro_f1"}
    names |= {"valid_roc_auc": "roc_auc"} if "roc_auc" in found else {}
    return {shown: found[name] for shown, name in names.items()}
