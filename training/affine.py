"""Rotation, zoom, shear and shift as one Keras layer, with one interpolation."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


class RandomAffine(keras.layers.Layer):  # type: ignore[misc] # Keras carries no types
    """Turns, zooms, shears and shifts each picture by its own random amounts.

    Keras has a layer for each of the four, and each interpolates: four in a row blur what a fracture line is made of,
    in training alone (docs/decisions.md has what was measured).
    Amounts are drawn from a normal distribution cut at two standard deviations, so that most pictures are changed
    a little. Uncovered corners are black.

    Args:
        rotation: Greatest turn to either side, as a share of a full turn.
        zoom: Greatest change of the scale, as a share.
        shear: Greatest shear along each axis, as a share.
        shift: Greatest shift along each axis, as a share of the side.
        seed: Of the amounts.
    """

    def __init__(self, rotation: float, zoom: float, shear: float, shift: float, *, seed: int) -> None:
        super().__init__(trainable=False, dtype="float32")
        self.rotation, self.zoom, self.shear, self.shift = rotation, zoom, shear, shift
        self._generator = keras.random.SeedGenerator(seed)

    def call(self, images: Any) -> Any:
        """Change (N, side, side, channels) float pictures."""
        count, side = images.shape[0], images.shape[1]
        turn, zoom, shear_x, shear_y, shift_x, shift_y = (
            keras.random.truncated_normal((count,), stddev=bound / 2, seed=self._generator)
            for bound in (self.rotation * 2 * 3.141592653589793, self.zoom, self.shear, self.shear) + 2 * (self.shift,)
        )
        cosine, sine, scale = ops.cos(turn), ops.sin(turn), 1.0 + zoom
        # Where each point of the result comes from: shear, then turn, then scale, around the centre.
        a, b = scale * (cosine - sine * shear_y), scale * (cosine * shear_x - sine)
        c, d = scale * (sine + cosine * shear_y), scale * (sine * shear_x + cosine)
        centre = (side - 1) / 2
        from_x = centre - a * centre - b * centre + shift_x * side
        from_y = centre - c * centre - d * centre + shift_y * side
        nothing = ops.zeros_like(a)
        transform = ops.stack([a, b, from_x, c, d, from_y, nothing, nothing], axis=1)
        return ops.image.affine_transform(images, transform, interpolation="bilinear", fill_mode="constant")
