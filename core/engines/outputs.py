"""What a network says of a batch, before calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.bundle import ModelCard
from core.errors import ModelMismatch


@dataclass(frozen=True)
class Outputs:
    """One row for each image of a batch."""

    probabilities: NDArray[np.floating]  # (N, classes), uncalibrated; rows sum to 1
    outlier_scores: NDArray[np.floating] | None = None  # (N,), higher is stranger; None: the network gives none
    activations: NDArray[np.floating] | None = None  # (N, height, width, classes), above 0 speaks for; None: likewise


@dataclass(frozen=True)
class Places:
    """At which of a network's outputs is what; None: it has none of that kind."""

    probabilities: int
    outlier_scores: int | None
    activations: int | None


def find_outputs(shapes: Sequence[Sequence[int | None]], card: ModelCard, path: object) -> Places:
    """Tell a network's outputs apart.

    A network gives (N, classes) probabilities, (N, 1) outlier scores if its card has a threshold for them, and
    (N, height, width, classes) activations if its card says their shape.

    Args:
        shapes: Of its outputs, in the engine's order.
        card: Says what is expected.
        path: Of the network's file, for the message.

    Raises:
        ModelMismatch: The network answers something else.
    """
    found = [tuple(shape[1:]) for shape in shapes]
    classes = len(card.labels)
    expected: list[tuple[int, ...]] = [(classes,)]
    if card.outlier_threshold is not None:
        expected.append((1,))
    if card.activation_shape is not None:
        expected.append((*card.activation_shape, classes))
    if sorted(found, key=str) != sorted(expected, key=str):
        answered = " and ".join(str(list(shape)) for shape in shapes)
        needed = " and ".join("[N, " + ", ".join(map(str, shape)) + "]" for shape in expected)
        raise ModelMismatch(f"{path} answers {answered}, the card needs {needed}.")
    return Places(
        probabilities=found.index((classes,)),
        outlier_scores=None if card.outlier_threshold is None else found.index((1,)),
        activations=None if card.activation_shape is None else found.index(expected[-1]),
    )
