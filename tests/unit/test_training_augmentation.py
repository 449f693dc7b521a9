"""Blending pictures in pairs; the Keras layers themselves are tested by the integration tests."""

from __future__ import annotations

import numpy as np

from training.augmentation import mix

IMAGES = np.stack([np.full((4, 4, 1), level, dtype=np.uint8) for level in (0, 100, 200)])
TRUTH = np.eye(3, dtype=np.float32)


def test_pictures_and_classes_are_blended_in_the_same_share() -> None:
    images, truth = mix(IMAGES, TRUTH, 0.4, np.random.default_rng(2))
    assert images.dtype == np.uint8
    assert truth.dtype == np.float32
    assert np.allclose(truth.sum(axis=1), 1)
    # Each level is a class's own, so that the blended level follows from the blended classes.
    assert np.allclose(images[:, 0, 0, 0], truth @ np.array([0, 100, 200]), atol=1)
    assert not np.array_equal(truth, TRUTH)


def test_the_same_generator_blends_in_the_same_way() -> None:
    first, second = (mix(IMAGES, TRUTH, 0.4, np.random.default_rng(2)) for _ in range(2))
    assert np.array_equal(first[0], second[0])
    assert np.array_equal(first[1], second[1])


def test_strength_zero_changes_nothing() -> None:
    images, truth = mix(IMAGES, TRUTH, 0.0, np.random.default_rng(1))
    assert images is IMAGES
    assert truth is TRUTH
