"""Decode a split once, through the same function as serving, and keep it in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.errors import ConfigurationError, RejectedImage
from core.images import decode
from core.near_duplicates import SIDE, Thumbnails, thumbnail
from core.preprocessing import read_model_input, read_radiograph
from training.sample import Sample


@dataclass(frozen=True)
class Pictures:
    """One split, decoded."""

    images: NDArray[np.uint8]  # (N, side, side, channels); 0 is black, bone is bright
    targets: NDArray[np.int64]  # (N,) index into the labels
    clusters: tuple[str, ...]  # (N,) the source of each image
    truth: NDArray[np.float32] | None = None  # (N, classes) what is to be learnt; None: the target, and only it
    words: tuple[tuple[str, ...], ...] | None = None  # (N,) of `core.plausibility`; None: nobody looked


def load_pictures(
    samples: Sequence[Sample],
    labels: tuple[str, ...],
    *,
    side: int,
    channels: int,
    max_pixels: int,
    advance: Callable[[], None] = lambda: None,
    looked_at: bool = False,
) -> Pictures:
    """Decode samples and fit them to a network's input.

    Args:
        samples: In the order of the result.
        labels: The network's labels in output order.
        side: Input side in pixels.
        channels: 1 or 3.
        max_pixels: Largest picture that is decoded, as in serving.
        advance: Called after each image, for a progress bar.
        looked_at: Ask of each whether it looks like a radiograph, as serving does.

    Raises:
        ConfigurationError: An image cannot be decoded; a data set should not shrink in silence.
    """
    images = np.empty((len(samples), side, side, channels), dtype=np.uint8)
    words: list[tuple[str, ...]] = []
    for index, sample in enumerate(samples):
        with _named(sample):
            data = sample.path.read_bytes()
            if looked_at:
                reading = read_radiograph(data, side=side, channels=channels, max_pixels=max_pixels)
                images[index] = reading.model_input
                words.append(reading.words)
            else:
                images[index] = read_model_input(data, side=side, channels=channels, max_pixels=max_pixels)
        advance()
    return Pictures(
        images=images,
        targets=np.array([labels.index(sample.label) for sample in samples], dtype=np.int64),
        clusters=tuple(sample.cluster for sample in samples),
        words=tuple(words) if looked_at else None,
    )


def load_thumbnails(
    samples: Sequence[Sample], max_pixels: int, *, advance: Callable[[], None] = lambda: None
) -> Thumbnails:
    """Decode samples for a comparison; see `near_duplicates`.

    Returns:
        (N, SIDE, SIDE) uint8 in the order of the samples.

    Raises:
        ConfigurationError: An image cannot be decoded.
    """
    thumbnails = np.empty((len(samples), SIDE, SIDE), dtype=np.uint8)
    for index, sample in enumerate(samples):
        with _named(sample):
            thumbnails[index] = thumbnail(decode(sample.path.read_bytes(), max_pixels=max_pixels))
        advance()
    return thumbnails


@contextmanager
def _named(sample: Sample) -> Iterator[None]:
    """Name the file of a picture that cannot be used."""
    try:
        yield
    except (RejectedImage, OSError) as error:
        raise ConfigurationError(f"{sample.path} cannot be used: {error} Take it out of the data set.") from error
