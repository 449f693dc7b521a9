"""The outlier score inside a network: as layers it computes what the formula says, in every engine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.answers import UNLIKE_RADIOGRAPHS, answers
from core.bundle import Bundle
from core.engines.protocol import load_classifier
from core.errors import ModelMismatch
from core.preprocessing import GEOMETRY
from tests.fakes import write_bundle
from training.compile import compile_litert
from training.outlier import (
    GREATEST,
    SUM,
    OutlierScore,
    features_of,
    find_measures,
    fit_outlier_score,
    with_outlier_score,
)
from training.strangers import KINDS, draw

# Keras 3.15 turns TensorFlow's variables into arrays in a way that NumPy 2 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

SIDE = 48


def build(*, nested: bool, depths: int = 1) -> Any:
    """Three resolutions; with `nested` they lie in a layer named `backbone`, as in the recipes.

    With two `depths` that layer gives the last two feature maps, as for a head that looks at both.
    """
    import keras

    keras.utils.set_random_seed(3)
    layers = keras.layers
    entry = keras.Input((SIDE, SIDE, 1), dtype="uint8")
    scaled = layers.Rescaling(1 / 255)(entry)

    def body(features: Any) -> list[Any]:
        found = []
        for width in (8, 12, 16):
            features = layers.Conv2D(width, 3, strides=2, padding="same", activation="relu")(features)
            found.append(features)
        return found[-depths:]

    if nested:
        inner = keras.Input((SIDE, SIDE, 1))
        maps = body(inner)
        found = keras.Model(inner, maps if depths > 1 else maps[0], name="backbone")(scaled)
        maps = found if depths > 1 else [found]
    else:
        maps = body(scaled)
    pooled = [layers.GlobalAveragePooling2D()(each) for each in maps]
    joined = layers.Concatenate()([*pooled, layers.GlobalMaxPooling2D()(maps[-1])])  # several ways from the backbone
    return keras.Model(entry, layers.Dense(3, activation="softmax")(joined))


def bones(count: int, seed: int) -> np.ndarray:
    """Soft bright bars on black: a crude radiograph."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE]
    pictures = []
    for _ in range(count):
        angle, at, width = generator.uniform(0, np.pi), generator.uniform(15, 33), generator.uniform(4, 9)
        across = (x - at) * np.cos(angle) + (y - at) * np.sin(angle)
        picture = 190 * np.exp(-((across / width) ** 2)) + generator.normal(20, 4, (SIDE, SIDE))
        pictures.append(np.clip(picture, 0, 255))
    return np.stack(pictures).astype(np.uint8)[..., np.newaxis]


@pytest.fixture(
    scope="module",
    params=[{"nested": True}, {"nested": True, "depths": 2}, {"nested": False}],
    ids=["backbone", "two depths", "plain"],
)
def fitted(request: pytest.FixtureRequest) -> tuple[Any, OutlierScore, list[float]]:
    model = build(**request.param)
    measures = find_measures(model)
    assert [measure.kind for measure in measures] == ["deviation", "deviation", "mean", "mean"]
    features = features_of(model, measures, bones(300, seed=1))
    strangers = features_of(model, measures, np.full((4, SIDE, SIDE, 1), 90, dtype=np.uint8))
    return model, *fit_outlier_score(measures, [features], [[str(index) for index in range(300)]], [strangers])


def test_the_share_that_is_flagged_is_the_one_that_was_wanted(fitted: tuple[Any, OutlierScore, list[float]]) -> None:
    model, score, flagged = fitted
    assert 0.005 <= flagged[0] <= 0.02
    fresh = score.of(features_of(model, score.measures, bones(400, seed=2)))
    assert (fresh > score.threshold).mean() <= 0.04


@pytest.mark.parametrize("combined", [GREATEST, SUM])
def test_layers_compute_what_the_formula_says(combined: str, fitted: tuple[Any, OutlierScore, list[float]]) -> None:
    model, score, _ = fitted
    changed = replace(score, combined=combined)
    pictures = np.concatenate([bones(5, seed=7), np.full((1, SIDE, SIDE, 1), 200, dtype=np.uint8)])
    _, found = with_outlier_score(model, changed).predict(pictures, verbose=0)
    assert found[:, 0] == pytest.approx(changed.of(features_of(model, changed.measures, pictures)), rel=1e-3)


def test_blank_pictures_and_noise_are_noticed(fitted: tuple[Any, OutlierScore, list[float]]) -> None:
    model, score, _ = fitted
    noise = np.random.default_rng(4).integers(0, 256, (10, SIDE, SIDE, 1)).astype(np.uint8)
    for pictures in (np.zeros_like(noise), np.full_like(noise, 255), np.full_like(noise, 128), noise):
        assert (score.of(features_of(model, score.measures, pictures)) > score.threshold).all()


@pytest.fixture
def bundle(fitted: tuple[Any, OutlierScore, list[float]], tmp_path: Path) -> Bundle:
    model, score, _ = fitted
    network = with_outlier_score(model, score)
    network.save(tmp_path / "model.keras")
    files = {
        "model.keras": (tmp_path / "model.keras").read_bytes(),
        "model.tflite": compile_litert(network),
    }
    entry = {"side": SIDE, "channels": 1, "geometry": GEOMETRY}
    outlier = {"threshold": score.threshold}
    return Bundle.open(write_bundle(tmp_path / "models", files=files, input=entry, outlier=outlier))


@pytest.mark.parametrize("engine", ["keras", "litert"])
def test_every_engine_returns_the_probabilities_and_the_score(
    engine: str, bundle: Bundle, fitted: tuple[Any, OutlierScore, list[float]]
) -> None:
    model, score, _ = fitted
    pictures = np.concatenate([bones(6, seed=5), np.zeros((1, SIDE, SIDE, 1), dtype=np.uint8)])
    outputs = load_classifier(bundle, engine).run(pictures)
    assert outputs.outlier_scores is not None
    assert outputs.probabilities == pytest.approx(model.predict(pictures, verbose=0), abs=1e-5)
    assert outputs.outlier_scores == pytest.approx(score.of(features_of(model, score.measures, pictures)), rel=1e-3)
    flags = [answer.flags if answer else None for answer in answers(outputs, bundle.card)]
    assert flags[-1] == (UNLIKE_RADIOGRAPHS,)


@pytest.mark.parametrize("engine", ["keras", "litert"])
def test_a_card_that_promises_a_score_needs_a_network_that_gives_one(engine: str, tmp_path: Path) -> None:
    model = build(nested=False)
    model.save(tmp_path / "model.keras")
    files = {"model.keras": (tmp_path / "model.keras").read_bytes(), "model.tflite": compile_litert(model)}
    entry = {"side": SIDE, "channels": 1, "geometry": GEOMETRY}
    promised = write_bundle(tmp_path / "a", files=files, input=entry, outlier={"threshold": 1.0})
    with pytest.raises(ModelMismatch, match=r"answers .*3\], the card needs \[N, 3\] and \[N, 1\]"):
        load_classifier(Bundle.open(promised), engine)
    plain = Bundle.open(write_bundle(tmp_path / "b", files=files, input=entry))
    assert load_classifier(plain, engine).run(bones(2, seed=6)).outlier_scores is None


def test_a_network_without_feature_maps_has_nothing_to_measure() -> None:
    import keras

    entry = keras.Input((SIDE, SIDE, 1), dtype="uint8")
    flat = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(entry))
    assert find_measures(keras.Model(entry, keras.layers.Dense(3, activation="softmax")(flat))) == ()


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_strangers_are_pictures_and_the_same_every_time(kind: str) -> None:
    first = draw(kind, 3)
    assert first.dtype == np.uint8 and first.ndim == 3 and first.shape[2] == 3
    assert min(first.shape[:2]) >= 150 and max(first.shape[:2]) < 500
    assert (first == draw(kind, 3)).all()
    assert first.shape != draw(kind, 4).shape or (first != draw(kind, 4)).any()
