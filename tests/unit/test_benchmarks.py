"""What a benchmark computes from what it measured, and what it measures with."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.measured import Measured, machine, ratio
from benchmarks.networks import floating_point_operations
from benchmarks.pictures import Pictures


def test_a_ratio_is_formed_within_each_turn() -> None:
    ours = Measured("ours", "images/s", (100.0, 10.0, 100.0))
    theirs = Measured("theirs", "images/s", (50.0, 5.0, 40.0))
    found = ratio("ours / theirs", ours, theirs)
    assert found.values == (2.0, 2.0, 2.5)
    assert found.median == 2.0
    assert found.shown(2) == "2.00 (2.00-2.50)"
    assert found.document() == {"unit": "ratio", "median": 2.0, "values": [2.0, 2.0, 2.5]}


def test_turns_that_do_not_match_are_no_ratio() -> None:
    with pytest.raises(ValueError, match="zip"):
        ratio("", Measured("one", "s", (1.0, 2.0)), Measured("other", "s", (1.0,)))


def test_the_machine_is_described() -> None:
    assert {"cpu_count", "python_version"} <= machine().keys()


@pytest.mark.parametrize("with_originals", [False, True])
def test_no_picture_comes_twice(with_originals: bool, tmp_path: Path) -> None:
    if with_originals:
        for number in range(3):
            Image.new("RGB", (60, 40 + number), "grey").save(tmp_path / f"{number}.jpg")
    pictures = Pictures(tmp_path if with_originals else None)
    contents = [*pictures.make(100), *pictures.make(100)]
    assert len(set(contents)) == 200
    with Image.open(io.BytesIO(contents[0])) as image:
        assert (image.format, image.mode) == ("JPEG", "L")
    assert ("3 radiographs" if with_originals else "drawn") in pictures.words


def test_operations_are_counted_layer_by_layer() -> None:
    import keras

    entry = keras.Input((8, 8, 3))
    features = keras.layers.Conv2D(4, 3, padding="same")(entry)  # 8 * 8 * 4 outputs of 3 * 3 * 3 products
    features = keras.layers.DepthwiseConv2D(3, padding="same")(features)  # 8 * 8 * 4 outputs of 3 * 3
    inner = keras.Model(entry, features)
    pooled = keras.layers.GlobalAveragePooling2D()(inner(entry))
    model = keras.Model(entry, keras.layers.Dense(5)(pooled))  # 4 * 5
    assert floating_point_operations(model) == 2 * (8 * 8 * 4 * 27 + 8 * 8 * 4 * 9 + 4 * 5)
