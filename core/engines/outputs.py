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


def find_outputs(shapes: Sequence[Sequence[int | None]], card: ModelCard, path: object) -> tuple[int, int | None]:
    """Tell a network's outputs apart.

    A network gives (N, classes) probabilities and, if its card has an outlier threshold, also (N, 1) outlier scores.

    Args:
        shapes: Of its outputs, in the engine's order.
        card: Says what is expected.
        path: Of the network's file, for the message.

    Returns:
        The positions of the probabilities and of the outlier scores.

    Raises:
        ModelMismatch: The network answers something else.
    """
    widths = [shape[-1] if len(shape) == 2 else None for shape in shapes]
    expected = [len(card.labels)] + ([] if card.outlier_threshold is None else [1])
    if sorted(widths, key=str) != sorted(expected, key=str):
        answered = " and ".join(str(list(shape)) for shape in shapes)
        needed = " and ".join(f"[N, {width}]" for width in expected)
        raise ModelMismatch(f"{path} answers {answered}, the card needs {needed}.")
    return widths.index(len(card.labels)), None if card.outlier_threshold is None else widths.index(1)
