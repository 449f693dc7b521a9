"""Activation maps: exact, the same in every engine, and laid over the right part of the picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from core.activation import over_picture, packed, unpacked
from core.answers import answers
from core.bundle import Bundle
from core.engines.protocol import load_classifier
from core.preprocessing import to_model_input
from tests.fakes import write_bundle
from training.activation import with_activation_map
from training.compile import compile_litert
from training.heads import linear_head, pooled_head

SIDE = 64
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def network(classes: int, *, units: int = 0) -> Any:
    """A small network over an 8 x 8 map, with weights that are none of its beginnings."""
    import keras

    keras.utils.set_random_seed(3)
    entry = keras.Input((SIDE, SIDE, 1), dtype="uint8")
    features = keras.layers.Rescaling(1 / 255)(entry)
    for filters in (8, 16, 24):
        features = keras.layers.Conv2D(filters, 3, strides=2, padding="same", activation="relu")(features)
    model = keras.Model(entry, pooled_head(features, classes=classes, dropout=0.4, units=units))
    generator = np.random.default_rng(7)
    model.set_weights([each + generator.uniform(-0.2, 0.3, each.shape) for each in model.get_weights()])
    return model


def linear_network(classes: int, *, padding: str) -> Any:
    """The same over maps of two sizes, with root mean squares."""
    import keras

    keras.utils.set_random_seed(3)
    entry = keras.Input((SIDE, SIDE, 1), dtype="uint8")
    features = keras.layers.Rescaling(1 / 255)(entry)
    maps = []
    for filters in (8, 16):
        features = keras.layers.Conv2D(filters, 3, strides=2, padding=padding, activation="relu")(features)
        maps.append(features)
    model = keras.Model(entry, linear_head(entry, maps, classes=classes))
    generator = np.random.default_rng(7)
    model.set_weights([each + generator.uniform(-0.05, 0.1, each.shape) for each in model.get_weights()])
    return model


def expected_means(model: Any, probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """The logits behind probabilities, less the last layer's bias, relative to the mean of the classes."""
    logits = np.log(probabilities)
    classes = probabilities.shape[1]
    _, bias = model.layers[-1 if classes == 3 else -3].get_weights()
    if classes == 3:
        expected = logits - bias
        return np.asarray(expected - expected.mean(axis=1, keepdims=True))
    first = logits[:, 0] - logits[:, 1] - bias[0]
    return np.stack([first, -first], axis=1)


def pictures() -> NDArray[np.uint8]:
    return np.random.default_rng(5).integers(0, 256, (4, SIDE, SIDE, 1)).astype(np.uint8)


@pytest.mark.parametrize("classes", [3, 2])
def test_the_mean_of_a_map_is_the_logit(classes: int) -> None:
    model = network(classes)
    mapped = with_activation_map(model)
    assert mapped is not None
    probabilities, maps = (np.asarray(each, dtype=np.float64) for each in mapped(pictures()))
    assert np.allclose(probabilities, np.asarray(model(pictures())), atol=1e-6)
    assert maps.shape == (4, 8, 8, classes)
    assert np.allclose(maps.mean(axis=(1, 2)), expected_means(model, probabilities), rtol=1e-3, atol=1e-3)


def test_a_network_that_is_all_too_sure_has_a_map_too() -> None:
    model = network(3)
    model.layers[-1].set_weights([1000 * each for each in model.layers[-1].get_weights()])
    mapped = with_activation_map(model)
    assert mapped is not None
    probabilities, maps = (np.asarray(each, dtype=np.float64) for each in mapped(pictures()))
    assert (probabilities.max(axis=1) == 1).all()  # there is no slope left
    assert (np.abs(maps).max(axis=(1, 2, 3)) > 1).all()


def test_a_network_that_ends_otherwise_gets_no_map() -> None:

    assert with_activation_map(network(3, units=5)) is None
    # Places of a map of 31 x 31 cannot be shared out among those of 15 x 15.
    assert with_activation_map(linear_network(3, padding="valid")) is None


@pytest.mark.parametrize("classes", [3, 2])
def test_a_root_mean_square_of_several_maps_has_places_too(classes: int) -> None:
    model = linear_network(classes, padding="same")
    mapped = with_activation_map(model)
    assert mapped is not None
    probabilities, maps = (np.asarray(each, dtype=np.float64) for each in mapped(pictures()))
    assert np.allclose(probabilities, np.asarray(model(pictures())), atol=1e-6)
    assert maps.shape == (4, 16, 16, classes)
    assert np.allclose(maps.mean(axis=(1, 2)), expected_means(model, probabilities), rtol=1e-3, atol=1e-3)


def test_a_place_speaks_by_its_share_of_each_root_mean_square() -> None:
    import keras

    model = linear_network(3, padding="same")
    mapped = with_activation_map(model)
    assert mapped is not None
    squares = [layer.output for layer in model.layers if layer.name.startswith("squared_")]
    found = [np.asarray(each, dtype=np.float64) for each in keras.Model(model.input, squares)(pictures())]
    gamma, beta, mean, variance = model.get_layer("pool_norm").get_weights()
    weights, _ = model.layers[-1].get_weights()
    scale = gamma / np.sqrt(variance + model.get_layer("pool_norm").epsilon)
    kernel = weights * scale[:, np.newaxis]
    expected = np.zeros((4, 16, 16, 3)) + (beta - mean * scale) @ weights
    for squared in found:
        root = np.sqrt(squared.mean(axis=(1, 2), keepdims=True))
        places = squared.reshape(4, 16, squared.shape[1] // 16, 16, squared.shape[2] // 16, -1).mean(axis=(2, 4))
        expected += (places / root) @ kernel[: squared.shape[3]]
        kernel = kernel[squared.shape[3] :]
    expected -= expected.mean(axis=3, keepdims=True)
    assert np.allclose(np.asarray(mapped(pictures())[1]), expected, rtol=1e-3, atol=1e-3)


def test_every_engine_gives_the_same_map(tmp_path: Path) -> None:
    mapped = with_activation_map(network(3))
    assert mapped is not None
    mapped.save(tmp_path / "model.keras")
    folder = write_bundle(
        tmp_path / "models",
        files={"model.keras": (tmp_path / "model.keras").read_bytes(), "model.tflite": compile_litert(mapped)},
        input={"side": SIDE, "channels": 1, "geometry": "letterbox-1"},
        labels=["a", "b", "c"],
        activation={"height": 8, "width": 8},
    )
    bundle = Bundle.open(folder)
    ours, theirs = (load_classifier(bundle, engine).run(pictures()) for engine in ("litert", "keras"))
    assert ours.activations is not None
    assert theirs.activations is not None
    assert np.abs(ours.activations).max() > 0.1
    assert np.allclose(ours.activations, theirs.activations, atol=1e-3)
    found = answers(ours, bundle.card)
    for answer, maps in zip(found, ours.activations, strict=True):
        assert answer is not None
        assert answer.activation is not None
        kept = unpacked(answer.activation)
        chosen = maps[:, :, bundle.card.labels.index(answer.label)]
        assert kept.max() == 255
        assert np.unravel_index(kept.argmax(), kept.shape) == np.unravel_index(chosen.argmax(), chosen.shape)


def test_what_speaks_for_nothing_is_nothing() -> None:
    assert not unpacked(packed(np.full((3, 4), -1.0))).any()
    assert unpacked(packed(np.array([[np.nan, 2.0], [1.0, np.inf]]))).tolist() == [[0, 255], [128, 0]]
    for damaged in (b"", b"\x02", b"\x02\x02abc", b"\x00\x00"):
        with pytest.raises(ValueError, match="no activation map"):
            unpacked(damaged)
    with pytest.raises(ValueError, match="cannot be packed"):
        packed(np.ones((300, 3)))


@pytest.mark.parametrize(("height", "width"), [(200, 100), (90, 180), (128, 128)])
def test_a_map_lies_where_the_network_saw_the_picture(height: int, width: int) -> None:
    # given: a bright spot in a picture, and a map that is bright where the spot is in the network's square
    picture = np.zeros((height, width), dtype=np.uint8)
    top, left = height * 3 // 4, width // 4
    picture[top - 12 : top + 12, left - 12 : left + 12] = 255
    square = to_model_input(picture, side=SIDE, channels=1)[:, :, 0]
    rows = square.reshape(8, SIDE // 8, 8, SIDE // 8).mean(axis=(1, 3))
    # when
    laid = over_picture(unpacked(packed(rows)), height=height, width=width)
    # then
    assert laid.shape == picture.shape
    y, x = np.unravel_index(laid.argmax(), laid.shape)
    assert abs(int(y) - top) < max(height, width) / 8
    assert abs(int(x) - left) < max(height, width) / 8
