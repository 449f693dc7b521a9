"""Activation maps as they are stored: what in the picture spoke for the answer, in a hundred bytes.

They say where the network looked, as coarse as its last feature map; they do not say where a fracture is.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_LARGEST = 255


def packed(activation: NDArray[np.floating]) -> bytes:
    """Pack one class's map: height, width, then a byte for each place, row by row.

    Args:
        activation: (height, width), sides up to 255; above 0 a place speaks for the class.

    Returns:
        Bytes in which the strongest place is 255, and what does not speak for the class, or is no number, 0.
    """
    height, width = activation.shape
    if not 1 <= height <= _LARGEST or not 1 <= width <= _LARGEST:
        raise ValueError(f"an activation map of {height} x {width} places cannot be packed")
    positive = np.maximum(np.nan_to_num(np.asarray(activation, dtype=np.float64), nan=0.0, posinf=0.0, neginf=0.0), 0.0)
    strongest = positive.max()
    scaled = positive / strongest * _LARGEST if strongest > 0 else positive
    return bytes([height, width]) + np.rint(scaled).astype(np.uint8).tobytes()


def unpacked(data: bytes) -> NDArray[np.uint8]:
    """Return the (height, width) uint8 map.

    Raises:
        ValueError: These bytes are no map.
    """
    if len(data) < 2 or len(data) != 2 + data[0] * data[1] or not data[0] * data[1]:
        raise ValueError("these bytes are no activation map")
    return np.frombuffer(data, dtype=np.uint8, offset=2).reshape(data[0], data[1])


def over_picture(activation: NDArray[np.uint8], *, height: int, width: int) -> NDArray[np.uint8]:
    """Lay a map over the picture that the network saw.

    Args:
        activation: (rows, columns) uint8 over the square in which `preprocessing.to_model_input` centres the picture.
        height: Of the picture that is wanted, in pixels.
        width: Likewise.

    Returns:
        (height, width) uint8, smoothly enlarged.
    """
    side = max(height, width)
    top, left = (side - height) / 2, (side - width) / 2
    rows, columns = activation.shape
    box = (left / side * columns, top / side * rows, (left + width) / side * columns, (top + height) / side * rows)
    laid = Image.fromarray(activation).resize((width, height), Image.Resampling.BICUBIC, box=box)
    return np.asarray(laid)
