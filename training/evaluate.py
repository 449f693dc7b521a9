"""Judge a bundle on a split, through the same decoding, geometry, engine and answers as serving."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.answers import answers
from core.bundle import Bundle, find_bundles
from core.engines.protocol import Classifier, load_classifier
from core.errors import ModelMismatch, ModelNotFound
from training.data import Dataset, data_hash
from training.metrics import (
    Floats,
    Indices,
    bootstrap_intervals,
    class_figures,
    confusion_matrix,
    expected_calibration_error,
    figures,
)
from training.pictures import load_pictures
from training.progress import Progress

#: Decimals of every printed figure. Engines and processors differ from about the seventh on.
DECIMALS = 4


@dataclass(frozen=True)
class Evaluation:
    """What one bundle scores on one split."""

    figures: dict[str, Any]  # what the card holds: the same on every run
    milliseconds_per_image: dict[str, float]  # this machine's: decoding with geometry, network with answers


def select_bundle(reference: str, models: Path) -> Bundle:
    """Open a bundle named as a folder, as NAME/VERSION or as NAME, which means its newest version.

    Raises:
        ModelNotFound: There is none.
        ModelMismatch: Its card is damaged.
    """
    if (Path(reference) / "card.json").is_file():
        return Bundle.open(Path(reference))
    name, _, version = reference.partition("/")
    fitting = [
        bundle for bundle in find_bundles(models) if bundle.card.name == name and version in ("", bundle.card.version)
    ]
    if not fitting:
        raise ModelNotFound(f"There is no model bundle {reference}: neither a folder nor a NAME/VERSION in {models}.")
    return fitting[-1]


def evaluate_bundle(
    bundle: Bundle, dataset: Dataset, split: str, *, engine: str, max_pixels: int, progress: Progress
) -> Evaluation:
    """Classify a split and compare with its labels.

    Raises:
        ConfigurationError: No such split or engine, or an image cannot be decoded.
        ModelMismatch: The bundle's files differ from its card, or the network returns no probabilities.
    """
    card = bundle.card
    samples = dataset.split(split)
    classifier = load_classifier(bundle, engine)
    progress.begin(f"decoding {split}", len(samples))
    started = time.perf_counter()
    pictures = load_pictures(
        samples, card.labels, side=card.side, channels=card.channels, max_pixels=max_pixels, advance=progress.step
    )
    decoded = time.perf_counter()
    scores = calibrated_scores(classifier, pictures.images, progress)
    ended = time.perf_counter()
    return Evaluation(
        figures={
            "split": split,
            "images": len(samples),
            "clusters": len(set(pictures.clusters)),
            "data_sha256": data_hash(samples),
            **_rounded(_figures(scores, pictures.targets, pictures.clusters, card.labels)),
        },
        milliseconds_per_image={
            "decode": round((decoded - started) * 1e3 / len(samples), 2),
            "network": round((ended - decoded) * 1e3 / len(samples), 2),
        },
    )


def calibrated_scores(classifier: Classifier, images: np.ndarray, progress: Progress, *, batch_size: int = 8) -> Floats:
    """Return (N, classes) float64 calibrated scores of (N, side, side, channels) uint8 images.

    Raises:
        ModelMismatch: The network returns NaN or numbers that do not sum to 1.
    """
    card = classifier.card
    progress.begin("classifying", len(images))
    rows = []
    for start in range(0, len(images), batch_size):
        for answer in answers(classifier.probabilities(images[start : start + batch_size]), card):
            if answer is None:
                raise ModelMismatch(
                    f"The network of {card.name} {card.version} returns numbers that are no probabilities."
                )
            rows.append([answer.scores[label] for label in card.labels])
            progress.step()
    return np.array(rows, dtype=np.float64)


def _figures(scores: Floats, targets: Indices, clusters: tuple[str, ...], labels: tuple[str, ...]) -> dict[str, Any]:
    confusion = confusion_matrix(scores.argmax(axis=1), targets, len(labels))
    by_class = class_figures(confusion)
    return {
        **figures(scores, targets),
        "ece": expected_calibration_error(scores, targets),
        "mean_confidence": float(scores.max(axis=1).mean()),
        "intervals_95": {name: list(ends) for name, ends in bootstrap_intervals(scores, targets, clusters).items()},
        "per_class": {
            label: {"images": int(confusion[index].sum())}
            | {name: float(values[index]) for name, values in by_class.items()}
            for index, label in enumerate(labels)
        },
        # Rows are true classes, columns predicted ones, both in the order of the labels.
        "confusion_matrix": {"labels": list(labels), "counts": confusion.astype(int).tolist()},
    }


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, DECIMALS)
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    return [_rounded(inner) for inner in value] if isinstance(value, list) else value
