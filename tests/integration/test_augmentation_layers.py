"""What the Keras layers of augmentation do to pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from training.augmentation import Augmentation, augmenter

# Keras 3.15 turns TensorFlow's variables into arrays in a way that NumPy 2 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

STILL = Augmentation(flip=False, rotation=0, zoom=0, shift=0, shear=0, contrast=0, brightness=0)
SIDE = 64
#: A grey field on black padding, with one bright line of a pixel's width: the fracture.
PICTURE = np.zeros((SIDE, SIDE, 1), dtype=np.uint8)
PICTURE[8:56, 16:48] = 90
PICTURE[8:56, 31] = 220
PICTURES = np.stack([PICTURE] * 6)


def test_nothing_wished_changes_nothing() -> None:
    assert np.array_equal(augmenter(STILL, seed=1)(PICTURES), PICTURES)


def test_pictures_are_changed_each_in_its_own_way_and_the_same_again_for_the_same_seed() -> None:
    first, again, other = (augmenter(Augmentation(), seed=seed)(PICTURES) for seed in (1, 1, 2))
    assert first.dtype == np.uint8
    assert first.shape == PICTURES.shape
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert len({picture.tobytes() for picture in first}) == len(PICTURES)


def test_grey_levels_change_but_the_padding_stays_black() -> None:
    changed = augmenter(Augmentation(flip=False, rotation=0, zoom=0, shift=0, shear=0), seed=4)(PICTURES)
    assert (changed[PICTURES == 0] == 0).all()
    assert len({int(picture[30, 20, 0]) for picture in changed}) > 1


@pytest.mark.parametrize(
    "wished",
    [{"rotation": 0.04}, {"zoom": 0.15}, {"shear": 0.08}, {"shift": 0.08}],
    ids=lambda wished: next(iter(wished)),
)
def test_each_movement_alone_keeps_the_field_and_a_fine_line_in_sight(wished: dict[str, Any]) -> None:
    settings = Augmentation(**({"flip": False, "rotation": 0, "zoom": 0, "shift": 0, "shear": 0} | wished), contrast=0)
    changed = augmenter(settings, seed=3)(PICTURES)
    for picture in changed.astype(int):
        assert not np.array_equal(picture, PICTURES[0])
        assert 0.6 < (picture > 0).sum() / (PICTURES[0] > 0).sum() < 1.5
        # A line of one pixel keeps a good third of its height over the field through one interpolation.
        rows = picture[20:44, :, 0]
        assert np.median(rows.max(axis=1) - np.median(rows, axis=1)) > 45


def test_movements_draw_from_both_sides_within_their_bounds() -> None:
    settings = Augmentation(flip=False, rotation=0, zoom=0, shift=0.1, shear=0, contrast=0, brightness=0)
    many = augmenter(settings, seed=5)(np.stack([PICTURE] * 200))
    columns = np.array([np.flatnonzero(picture[30, :, 0] > 0).mean() for picture in many]) - 31.5
    assert columns.min() < -1
    assert columns.max() > 1
    assert np.abs(columns).max() <= 0.1 * SIDE + 1
    assert abs(columns.mean()) < 1
