"""The layer that is solved for: the best there is, however the truth is given."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from training.solving import Layer, solve


def some_features(pictures: int = 300, width: int = 12) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(2)
    targets = generator.integers(0, 3, pictures)
    features = generator.normal(size=(pictures, width)) + np.eye(3, width)[targets]
    return (features * generator.uniform(0.1, 5, width)).astype(np.float32), targets


def answers(layer: Layer, features: np.ndarray) -> np.ndarray:
    scores = (features - layer.mean) / np.sqrt(layer.variance) @ layer.weights + layer.bias
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def test_it_finds_what_scikit_learn_finds() -> None:
    features, targets = some_features()
    layer = solve(features, np.eye(3, dtype=np.float32)[targets], penalty=0.5)
    standard = (features - features.mean(axis=0)) / features.std(axis=0)
    # Scikit-learn minimises the sum of the losses plus |w|^2 / 2C.
    weight = 0.5 * features.shape[1] / 1000
    peer = LogisticRegression(C=1 / (2 * weight * len(features)), tol=1e-8, max_iter=1000).fit(standard, targets)
    assert answers(layer, features) == pytest.approx(peer.predict_proba(standard), abs=5e-3)


def test_shares_of_several_classes_count_as_pictures_do() -> None:
    features, targets = some_features()
    truth = np.eye(3, dtype=np.float32)[targets]
    other = np.roll(truth, 1, axis=1)
    shared = solve(features, 0.75 * truth + 0.25 * other, penalty=0.5)
    repeated = solve(np.tile(features, (4, 1)), np.concatenate([truth, truth, truth, other]), penalty=0.5)
    assert answers(shared, features) == pytest.approx(answers(repeated, features), abs=5e-3)


def test_a_feature_that_never_varies_changes_nothing() -> None:
    features, targets = some_features()
    truth = np.eye(3, dtype=np.float32)[targets]
    wider = np.hstack([features, np.full((len(features), 1), 7, dtype=np.float32)])
    layer = solve(wider, truth, penalty=0.5)
    assert np.isfinite(layer.weights).all()
    assert abs(layer.weights[-1]).max() < 1e-3
