"""Random changes of training pictures, between `to_model_input` and the network; never part of the exported network.

Built from Keras' preprocessing layers and one of our own. Bounds are our choice, looked at on bone-break: what a
radiographer could have done with the same bone (turned, mirrored, nearer, darker), not what would change the fracture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Augmentation:
    """How far pictures are changed; 0 switches a change off."""

    flip: bool = True  # mirrored left to right: left and right limbs look alike
    rotation: float = 0.04  # of a full turn, to either side: 14 degrees
    zoom: float = 0.15  # of the scale, in and out
    shift: float = 0.08  # of the side, in each direction
    shear: float = 0.08
    contrast: float = 0.2
    brightness: float = 0.08  # of the range 0 to 255


def augmenter(settings: Augmentation, seed: int) -> Callable[[NDArray[np.uint8]], NDArray[np.uint8]]:
    """Make the function that changes a batch.

    Args:
        settings: The bounds.
        seed: The same seed changes the same sequence of batches in the same way.

    Returns:
        A function from (N, side, side, 1) uint8 to a changed copy. Uncovered corners are black, like the padding.
    """
    grey, places = _layers(settings, seed)

    def change(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        changed: Any = images.astype(np.float32)
        for layer in grey:
            changed = layer(changed, training=True)
        # Black stays black: serving never pads with grey.
        changed = np.where(images == 0, np.float32(0), np.asarray(changed))
        for layer in places:
            changed = layer(changed, training=True)
        # Back to whole grey levels: the network never sees in training what it cannot see in serving.
        result: NDArray[np.uint8] = np.clip(np.rint(np.asarray(changed)), 0, 255).astype(np.uint8)
        return result

    return change


def mix(
    images: NDArray[np.uint8], truth: NDArray[np.float32], strength: float, generator: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Blend each picture of a batch with another one of it, and their classes in the same share.

    Args:
        images: (N, side, side, 1) uint8.
        truth: (N, classes) float32, rows sum to 1.
        strength: Both parameters of the Beta distribution that the shares come from; 0 changes nothing.
        generator: Draws partners and shares.

    Source: Zhang et al. 2018, mixup: Beyond Empirical Risk Minimization.
    """
    if not strength:
        return images, truth
    partners = generator.permutation(len(images))
    share = generator.beta(strength, strength, size=len(images)).astype(np.float32)
    wide = share[:, np.newaxis, np.newaxis, np.newaxis]
    blended = np.rint(wide * images + (1 - wide) * images[partners]).astype(np.uint8)
    narrow = share[:, np.newaxis]
    return blended, narrow * truth + (1 - narrow) * truth[partners]


def _layers(settings: Augmentation, seed: int) -> tuple[list[Any], list[Any]]:
    """Return the layers that change grey levels, and those that move them."""
    from keras import layers

    from training.affine import RandomAffine

    seeds = iter(int(word) for word in np.random.SeedSequence(seed).generate_state(4) // 2)
    flip, contrast, brightness, affine = seeds
    levels = (0, 255)
    grey: list[tuple[bool | float, Callable[[], Any]]] = [
        (settings.contrast, lambda: layers.RandomContrast(settings.contrast, value_range=levels, seed=contrast)),
        (settings.brightness, lambda: layers.RandomBrightness(settings.brightness, levels, seed=brightness)),
    ]
    amounts = (settings.rotation, settings.zoom, settings.shear, settings.shift)
    places: list[tuple[bool | float, Callable[[], Any]]] = [
        (settings.flip, lambda: layers.RandomFlip("horizontal", seed=flip)),
        (any(amounts), lambda: RandomAffine(*amounts, seed=affine)),
    ]
    return [make() for wished, make in grey if wished], [make() for wished, make in places if wished]
