"""From a radiograph's file to a network's input; the only place where it is done.

Training calls `read_model_input`, evaluation and serving `read_radiograph`, which looks at the picture besides; so they
cannot differ. Arithmetic (scaling to the backbone's range) is the network's own first layer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core import images
from core.errors import UnreadableImage
from core.plausibility import implausible

#: Stamped on every model card; a card with another stamp is refused, because its network saw other pictures.
GEOMETRY = "letterbox-1"


#: Pictures are decoded, and first reduced by whole numbers, to no less than so many times the network's side: several
#: times faster than one fine reduction of a large picture, without a visible difference.
_REDUCING_GAP = 3.0


@dataclass(frozen=True)
class Reading:
    """One radiograph, read to be judged."""

    model_input: NDArray[np.uint8]  # (side, side, channels); see `to_model_input`
    words: tuple[str, ...]  # why a network's answer means nothing, of `core.plausibility.WORDS`; mostly none
    pixels: NDArray[np.uint8]  # (height, width), perhaps reduced; 0 is black


def read_radiograph(data: bytes, *, side: int, channels: int, max_pixels: int, frame: int = 0) -> Reading:
    """Decode one radiograph, ask whether it looks like one, and fit it to the network's input.

    Args:
        data: As `read_model_input`; so are the others.
        side: The network's input side in pixels.
        channels: 1 or 3.
        max_pixels: Largest accepted width x height.
        frame: Page of a file with several, from 0.

    Raises:
        RejectedImage: As `images.decode`.
    """
    enough = math.ceil(_REDUCING_GAP * side)
    picture = images.decode_with_colours(data, max_pixels=max_pixels, frame=frame, enough=enough)
    return Reading(
        model_input=to_model_input(picture.pixels, side=side, channels=channels),
        words=implausible(picture),
        pixels=picture.pixels,
    )


def read_model_input(data: bytes, *, side: int, channels: int, max_pixels: int, frame: int = 0) -> NDArray[np.uint8]:
    """Decode one radiograph and fit it to the network's input.

    Args:
        data: The file, whole.
        side: The network's input side in pixels.
        channels: 1, or 3 for the same grey three times.
        max_pixels: Largest accepted width x height.
        frame: Page of a file with several, from 0.

    Returns:
        (side, side, channels) uint8; see `to_model_input`.

    Raises:
        RejectedImage: As `images.decode`.
    """
    pixels = images.decode(data, max_pixels=max_pixels, frame=frame, enough=math.ceil(_REDUCING_GAP * side))
    return to_model_input(pixels, side=side, channels=channels)


@dataclass(frozen=True)
class Placement:
    """Where a radiograph lies in the network's square input, in pixels; the rest is black."""

    width: int
    height: int
    left: int
    top: int


def placement(width: int, height: int, *, side: int) -> Placement:
    """Scale a picture to a square's side, keeping its proportions, and centre it."""
    scale = side / max(height, width)
    new_width, new_height = max(1, round(width * scale)), max(1, round(height * scale))
    return Placement(new_width, new_height, left=(side - new_width) // 2, top=(side - new_height) // 2)


def to_model_input(pixels: NDArray[np.uint8], *, side: int, channels: int) -> NDArray[np.uint8]:
    """Fit one radiograph to the network's input, keeping its proportions.

    Args:
        pixels: (height, width) uint8; 0 is black, bone is bright, as `images.decode` returns.
        side: The network's input side in pixels.
        channels: 1, or 3 for the same grey three times.

    Returns:
        (side, side, channels) uint8, centred on black. A new array; `pixels` is left alone.

    Raises:
        UnreadableImage: A side of `pixels` is zero.

    Source: padding rather than stretching is our choice: a third of bone-break was stretched to a square by its
    publisher, the rest has proportions from 0.14 to 5.8, and a bone's shape is evidence.
    """
    height, width = pixels.shape
    if height < 1 or width < 1:
        raise UnreadableImage(f"The picture is {width} x {height} pixels: it has no area.")
    place = placement(width, height, side=side)
    resized = Image.fromarray(pixels).resize(
        (place.width, place.height), Image.Resampling.BILINEAR, reducing_gap=_REDUCING_GAP
    )
    canvas = np.zeros((side, side), dtype=np.uint8)
    canvas[place.top : place.top + place.height, place.left : place.left + place.width] = np.asarray(resized)
    # Channel by channel: one broadcast over three bytes at a time takes three times as long.
    laid = np.empty((side, side, channels), dtype=np.uint8)
    for channel in range(channels):
        laid[:, :, channel] = canvas
    return laid
