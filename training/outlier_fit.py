"""Fit a network's outlier score to radiographs at hand, and count what it notices."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core.engines.protocol import Classifier
from core.errors import ConfigurationError
from core.preprocessing import read_model_input
from training.data import Dataset, read_dataset
from training.evaluate import run_all
from training.labels import TASK_LABELS
from training.metrics import Floats
from training.outlier import OutlierScore, features_of, find_measures, fit_outlier_score
from training.pictures import load_pictures
from training.progress import Progress
from training.sample import Sample
from training.sources import data_source
from training.strangers import KINDS, draw

#: Most radiographs of one collection that are measured; the first by sha256.
MOST = 800
#: Pictures of each kind that are drawn to see what is noticed, and the first one's seed.
STRANGERS = 40
STRANGER_SEED = 100_000
#: The same for those that choose which measures count.
CHOOSING_STRANGERS = 20
CHOOSING_SEED = 0


@dataclass(frozen=True)
class OutlierFit:
    """A score, and what the card says of it."""

    score: OutlierScore
    document: dict[str, Any]


def read_radiographs(folder: Path, max_pixels: int) -> Dataset:
    """Read a data set of any task; its labels do not matter here.

    Raises:
        ConfigurationError: It is a data set of no task.
    """
    problems = []
    for labels in TASK_LABELS.values():
        try:
            return read_dataset(folder, labels, max_pixels=max_pixels)
        except ConfigurationError as error:
            problems.append(str(error))
    raise ConfigurationError(f"{folder} cannot be used as further radiographs: {' '.join(dict.fromkeys(problems))}")


def fit_on_radiographs(
    model: Any, datasets: Sequence[Dataset], *, side: int, channels: int, max_pixels: int, progress: Progress
) -> OutlierFit | None:
    """Fit the score on the train and validation splits.

    Args:
        model: The trained network.
        datasets: The run's own first, then further radiographs.
        side: Input side in pixels.
        channels: 1 or 3.
        max_pixels: Largest picture that is decoded.
        progress: Is told of each image.

    Returns:
        None if the network has no feature maps.
    """
    measures = find_measures(model)
    if not measures:
        return None
    chosen = [_chosen(dataset) for dataset in datasets]
    collections = []
    for samples in chosen:
        progress.begin("measuring radiographs", len(samples))
        images = _load(samples, side, channels, max_pixels, progress)
        collections.append(features_of(model, measures, images))
    clusters = [[sample.cluster for sample in samples] for samples in chosen]
    strangers = []
    progress.begin("measuring other pictures", len(KINDS))
    for kind in KINDS:
        drawn = draw_inputs(kind, side, channels, CHOOSING_STRANGERS, CHOOSING_SEED)
        strangers.append(features_of(model, measures, drawn))
        progress.step()
    score, flagged = fit_outlier_score(measures, collections, clusters, strangers)
    sources = []
    for dataset, samples, share in zip(datasets, chosen, flagged, strict=True):
        digest = dataset.hashes()["all"]
        counted = {"images": len(samples), "splits": "train, valid", "flagged": round(share, 4)}
        sources.append({**data_source(digest), "sha256": digest, **counted})
    document = {
        "method": "relative Mahalanobis distances of the network's features",
        "threshold": score.threshold,
        "measures": [f"{measure.layer}, {measure.kind}" for measure in score.measures],
        "combined": score.combined,
        "fitted_on": sources,
    }
    return OutlierFit(score, document)


def count_noticed(classifier: Classifier, progress: Progress) -> dict[str, float]:
    """Return, for each kind of picture that is no radiograph, the share that the score notices.

    Args:
        classifier: Of a card with an outlier threshold.
        progress: Is told of each picture.
    """
    card = classifier.card
    noticed = {}
    for kind in KINDS:
        outputs = run_all(classifier, draw_inputs(kind, card.side, card.channels), progress)
        scores: Floats = np.asarray(outputs.outlier_scores, dtype=np.float64)
        noticed[kind] = round(float((~(scores <= (card.outlier_threshold or 0.0))).mean()), 4)
    return noticed


def draw_inputs(
    kind: str, side: int, channels: int, count: int = STRANGERS, seed: int = STRANGER_SEED
) -> NDArray[np.uint8]:
    """Draw pictures of a kind and bring them to the network by the same way as an upload.

    Returns:
        (count, side, side, channels) uint8.
    """
    pictures = []
    for number in range(seed, seed + count):
        stream = io.BytesIO()
        Image.fromarray(draw(kind, number)).save(stream, "PNG", compress_level=0)
        pictures.append(read_model_input(stream.getvalue(), side=side, channels=channels, max_pixels=10**7))
    return np.stack(pictures)


def _chosen(dataset: Dataset) -> list[Sample]:
    """Return what is fitted on; never the test split."""
    return sorted((sample for sample in dataset.samples if sample.split != "test"), key=lambda each: each.sha256)[:MOST]


def _load(
    samples: Sequence[Sample], side: int, channels: int, max_pixels: int, progress: Progress
) -> NDArray[np.uint8]:
    labels = tuple(sorted({sample.label for sample in samples}))
    pictures = load_pictures(
        samples, labels, side=side, channels=channels, max_pixels=max_pixels, advance=progress.step
    )
    return pictures.images
