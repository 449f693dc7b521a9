"""Networks whose weights half precision holds: the same answers, in either file of a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from training.compile import compile_litert
from training.half_precision import factors, hold_in_half, round_weights, save_small

SIDE = 32
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def network() -> Any:
    """Normalisations after, before and without convolutions, one in a network within the network, asked twice."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(3)
    inner_entry = keras.Input((16, 16, 8))
    inner = layers.DepthwiseConv2D(3, padding="same", use_bias=False, depth_multiplier=2)(inner_entry)
    inner = layers.BatchNormalization(epsilon=1e-3)(inner)
    backbone = keras.Model(inner_entry, layers.ReLU(6.0)(inner), name="backbone")

    entry = keras.Input((SIDE, SIDE, 1), dtype="uint8")
    features = layers.Conv2D(8, 3, strides=2, padding="same")(layers.Rescaling(1 / 255)(entry))
    features = layers.ReLU()(layers.BatchNormalization()(features))
    features = layers.Add()([backbone(features), backbone(keras.ops.flip(features, axis=2))])
    features = layers.BatchNormalization(name="before")(features)  # after an addition: nothing takes its factor
    bright = layers.Conv2D(4, 1, activation="relu")(features)  # its own activation lies between
    pooled = layers.GlobalAveragePooling2D()(layers.BatchNormalization(scale=False, name="no_scale")(bright))
    model = keras.Model(entry, layers.Dense(3, activation="softmax")(pooled))
    generator = np.random.default_rng(7)
    model.set_weights([each + generator.uniform(-0.1, 0.2, each.shape) for each in model.get_weights()])
    for norm in normalisations(model):
        *rest, variance = norm.get_weights()
        norm.set_weights([*rest, generator.uniform(0.2, 4, variance.shape)])
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([kernel * 0.1, bias])  # so that no answer is certain
    return model


def pictures() -> NDArray[np.uint8]:
    return np.random.default_rng(5).integers(0, 256, (6, SIDE, SIDE, 1)).astype(np.uint8)


def answers(model: Any) -> NDArray[np.float32]:
    return np.asarray(model(pictures(), training=False))


def compiled_answers(content: bytes) -> NDArray[np.float32]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    entry, end = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    found = []
    for picture in pictures():
        interpreter.set_tensor(entry, picture[np.newaxis])
        interpreter.invoke()
        found.append(interpreter.get_tensor(end)[0])
    return np.array(found)


def normalisations(model: Any) -> list[Any]:
    import keras

    layers = [*model.layers, *model.get_layer("backbone").layers]
    return [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]


def test_what_a_network_answers_hardly_moves() -> None:
    model = network()
    before = answers(model)
    hold_in_half(model)
    assert not np.array_equal(answers(model), before)
    assert np.abs(answers(model) - before).max() < 2e-3
    for value in model.get_weights():
        assert np.array_equal(value, value.astype(np.float16).astype(np.float32))


def test_nothing_is_left_to_multiply_where_a_convolution_takes_it() -> None:
    model = network()
    hold_in_half(model)
    multiplying = {
        norm.name for norm in normalisations(model) if not np.allclose(factors(norm)[0], 1, atol=1e-3, rtol=0)
    }
    # Also the one behind an activation, which has nothing but its variance to scale with.
    assert multiplying == {"before", "no_scale"}
    once = model.get_weights()
    hold_in_half(model)
    assert all(np.allclose(ours, theirs, atol=1e-3) for ours, theirs in zip(once, model.get_weights(), strict=True))


def test_a_file_in_half_precision_answers_as_the_network_does() -> None:
    model = network()
    rounded_alone = np.abs(compiled_answers(compile_litert(model, "float16")) - answers(model)).max()
    hold_in_half(model)
    found = np.abs(compiled_answers(compile_litert(model, "float16")) - answers(model)).max()
    assert found < 2e-4
    assert found < rounded_alone / 2


def test_numbers_beyond_the_range_stay_as_they_are() -> None:
    import keras

    entry = keras.Input((2,))
    model = keras.Model(entry, keras.layers.Dense(1)(entry))
    model.set_weights([np.array([[70_000.0], [0.1]], dtype=np.float32), np.array([0.1], dtype=np.float32)])
    round_weights(model)
    kernel, bias = model.get_weights()
    assert kernel[0, 0] == 70_000.0 and kernel[1, 0] == np.float32(0.1)
    assert bias[0] == np.float32(np.float16(0.1))


def test_the_file_is_small_and_keras_reads_it(tmp_path: Path) -> None:
    import keras

    model = network()
    hold_in_half(model)
    save_small(model, tmp_path / "small.keras")
    model.save(tmp_path / "plain.keras")
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["plain.keras", "small.keras"]
    assert (tmp_path / "small.keras").stat().st_size < (tmp_path / "plain.keras").stat().st_size
    loaded: Any = keras.saving.load_model(tmp_path / "small.keras", compile=False, safe_mode=True)
    assert np.array_equal(answers(loaded), answers(model))
