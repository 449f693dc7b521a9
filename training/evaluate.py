"""Judge a bundle on a split, through the same decoding, geometry, engine and answers as serving."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.answers import Answer, answers, with_words
from core.bundle import Bundle, ModelCard, find_bundles
from core.engines.outputs import Outputs
from core.engines.protocol import Classifier, load_classifier
from core.errors import ConfigurationError, ModelMismatch, ModelNotFound
from core.plausibility import WORDS
from training.data import Dataset, data_hash
from training.judged import Judged, all_figures, short_figures
from training.pictures import load_pictures
from training.progress import Progress
from training.sample import Sample


@dataclass(frozen=True)
class Without:
    """Images that are left out: those with this value in this column of the manifest."""

    column: str
    value: str

    @classmethod
    def parse(cls, text: str) -> Without:
        """Read `COLUMN=VALUE`.

        Raises:
            ConfigurationError: It is nothing of the kind.
        """
        column, equals, value = text.partition("=")
        if not column or not equals:
            raise ConfigurationError(f"--without takes COLUMN=VALUE, not {text!r}.")
        return cls(column.strip(), value.strip())


@dataclass(frozen=True)
class Evaluation:
    """What one bundle says of one split."""

    judged: Judged
    samples: tuple[Sample, ...]  # (N,)
    images: NDArray[np.uint8]  # (N, side, side, channels), as the network saw them
    figures: dict[str, Any]  # what the card holds: the same on every run
    milliseconds_per_image: dict[str, float]  # this machine's: decoding with geometry, network with answers
    unjudged: Mapping[str, int] = field(default_factory=dict)  # the words of `core.plausibility` that were found


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
    bundle: Bundle,
    dataset: Dataset,
    split: str,
    *,
    engine: str,
    max_pixels: int,
    progress: Progress,
    by: str | None = None,
    without: Sequence[Without] = (),
) -> Evaluation:
    """Classify a split and compare with its labels.

    Args:
        bundle: The model.
        dataset: The labelled images.
        split: Of the data set.
        engine: That runs the network.
        max_pixels: Largest picture that is decoded, as in serving.
        progress: Is told of each image.
        by: A column of the manifest; figures are also given for each of its values.
        without: Images that are left out.

    Raises:
        ConfigurationError: No such split, column or engine, nothing is left, or an image cannot be decoded.
        ModelMismatch: The bundle's files differ from its card, or the network returns no probabilities.
    """
    card = bundle.card
    samples, left_out = leave_out(dataset.split(split), without)
    check_columns(samples, [by] if by else [])
    classifier = load_classifier(bundle, engine)
    progress.begin(f"decoding {split}", len(samples))
    started = time.perf_counter()
    pictures = load_pictures(
        samples,
        card.labels,
        side=card.side,
        channels=card.channels,
        max_pixels=max_pixels,
        advance=progress.step,
        looked_at=True,
    )
    decoded = time.perf_counter()
    given = sound_answers(run_all(classifier, pictures.images, progress), card)
    given = [with_words(answer, words) for answer, words in zip(given, pictures.words or (), strict=True)]
    ended = time.perf_counter()
    judged = Judged.of(given, card, pictures.targets, pictures.clusters)
    return Evaluation(
        judged=judged,
        samples=samples,
        images=pictures.images,
        figures={
            **split_facts(split, samples),
            **({"left_out": left_out} if left_out else {}),
            **all_figures(judged, card),
            **({"by": {"column": by, "groups": figures_by(judged, samples, by)}} if by else {}),
        },
        milliseconds_per_image={
            "decode": round((decoded - started) * 1e3 / len(samples), 2),
            "network": round((ended - decoded) * 1e3 / len(samples), 2),
        },
        unjudged=Counter(flag for answer in given for flag in answer.flags if flag in WORDS),
    )


def split_facts(split: str, samples: Sequence[Sample]) -> dict[str, Any]:
    """Say which images figures are made of."""
    return {
        "split": split,
        "images": len(samples),
        "clusters": len({sample.cluster for sample in samples}),
        "data_sha256": data_hash(samples),
    }


def leave_out(samples: Sequence[Sample], without: Sequence[Without]) -> tuple[tuple[Sample, ...], list[dict[str, Any]]]:
    """Return the samples that stay, and for each rule how many images it takes away.

    Raises:
        ConfigurationError: The data have no such column, or nothing is left.
    """
    check_columns(samples, [rule.column for rule in without])
    counts = []
    for rule in without:
        staying = [sample for sample in samples if sample.facts.get(rule.column) != rule.value]
        counts.append({"column": rule.column, "value": rule.value, "images": len(samples) - len(staying)})
        samples = staying
    if not samples:
        raise ConfigurationError("Nothing is left of the split; --without takes every image away.")
    return tuple(samples), counts


def check_columns(samples: Sequence[Sample], columns: Sequence[str]) -> None:
    """Accept columns that the manifest has.

    Raises:
        ConfigurationError: It lacks one.
    """
    known = sorted({name for sample in samples for name in sample.facts})
    for column in columns:
        if column not in known:
            raise ConfigurationError(f"The data have no column {column!r}; they have {', '.join(known) or 'none'}.")


def figures_by(judged: Judged, samples: Sequence[Sample], column: str) -> dict[str, Any]:
    """Return the figures of each value of a column."""
    values = np.array([sample.facts.get(column, "") for sample in samples])
    return {str(value) or "(none)": short_figures(judged.take(values == value)) for value in np.unique(values)}


def run_all(classifier: Classifier, images: NDArray[np.uint8], progress: Progress, *, batch_size: int = 8) -> Outputs:
    """Run a network over (N, side, side, channels) uint8 images."""
    progress.begin("classifying", len(images))
    parts = []
    for start in range(0, len(images), batch_size):
        batch = images[start : start + batch_size]
        parts.append(classifier.run(batch))
        for _ in batch:
            progress.step()
    scores = [part.outlier_scores for part in parts if part.outlier_scores is not None]
    # Activation maps are for looking at, not for figures.
    return Outputs(np.concatenate([part.probabilities for part in parts]), np.concatenate(scores) if scores else None)


def sound_answers(outputs: Outputs, card: ModelCard) -> list[Answer]:
    """Turn outputs into answers.

    Raises:
        ModelMismatch: The network returns NaN or numbers that do not sum to 1.
    """
    given = [answer for answer in answers(outputs, card) if answer is not None]
    if len(given) < len(outputs.probabilities):
        raise ModelMismatch(f"The network of {card.name} {card.version} returns numbers that are no probabilities.")
    return given
