"""`fracture-queue classify`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import numpy as np

from cli.answer_lines import answer_lines
from cli.environment import settings_here
from core.answers import Answer, answers, with_words
from core.bundle import Bundle, find_bundles
from core.engines.protocol import Classifier, load_classifier
from core.errors import ModelNotFound, RejectedImage, UnreadableImage
from core.ingest import too_large
from core.named_files import read_named
from core.preprocessing import read_radiograph
from core.records.fractures import FRACTURE_TASK
from core.settings import Settings


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--model", metavar="NAME[/VERSION]", help="Default: the newest of each installed name.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def classify(files: tuple[Path, ...], model: str | None, as_json: bool) -> None:
    """Ask a model about files at once, without queue or database.

    Research and education only, never diagnosis.

    Example: fracture-queue classify wrist.jpg --json
    """
    settings = settings_here()
    # The binary question first: an unbroken bone has no kind of fracture.
    bundles = sorted(_chosen(settings, model), key=lambda bundle: bundle.card.task != FRACTURE_TASK)
    classifiers = [load_classifier(bundle, settings.engine) for bundle in bundles]
    of_files = [[_ask(classifier, path, settings) for classifier in classifiers] for path in files]
    found = [entry for entries in of_files for entry in entries]
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        for entries in of_files:
            # A file that cannot be read is told once, not once for each model.
            for line in dict.fromkeys(
                answer_lines(entries[0]["name"], [(entry, _is_binary(entry)) for entry in entries])
            ):
                click.echo(line)
    if any(entry["error"] for entry in found):
        raise SystemExit(1)


def _chosen(settings: Settings, model: str | None) -> list[Bundle]:
    newest: dict[str, Bundle] = {}
    name, _, version = (model or "").partition("/")
    bundles = find_bundles(settings.models)
    for bundle in bundles:  # by version, so that the newest stays
        if model is None or (bundle.card.name == name and version in ("", bundle.card.version)):
            newest[bundle.card.name] = bundle
    if not newest:
        known = ", ".join(f"{bundle.card.name}/{bundle.card.version}" for bundle in bundles)
        raise ModelNotFound(f"There is no model {model!r} in {settings.models}; installed: {known}.")
    return list(newest.values())


def _ask(classifier: Classifier, path: Path, settings: Settings) -> dict[str, Any]:
    """Return one entry of the JSON document; its keys are a contract."""
    entry: dict[str, Any] = {
        "name": path.name,
        "model": f"{classifier.card.name}/{classifier.card.version}",
        "task": classifier.card.task,
        "label": None,
        "confidence": None,
        "scores": {},
        "prediction_set": [],
        "flags": [],
        "error": None,
    }
    try:
        answer = _answer(classifier, path, settings)
    except RejectedImage as problem:
        return {**entry, "error": {"code": problem.code, "words": str(problem)}}
    return {
        **entry,
        "label": answer.label,
        "confidence": answer.confidence,
        "scores": dict(answer.scores),
        "prediction_set": list(answer.prediction_set),
        "flags": list(answer.flags),
    }


def _answer(classifier: Classifier, path: Path, settings: Settings) -> Answer:
    try:
        found = read_named(path, settings.max_file_bytes, beginning=0)
    except OSError as error:
        raise UnreadableImage(f"The file cannot be read: {error.strerror}.") from error
    if found.data is None:
        raise too_large(found.size, settings)
    card = classifier.card
    reading = read_radiograph(found.data, side=card.side, channels=card.channels, max_pixels=settings.max_pixels)
    (answer,) = answers(classifier.run(reading.model_input[np.newaxis]), classifier.card)
    if answer is None:
        raise UnreadableImage("The network's answer is not a set of probabilities.")
    return with_words(answer, reading.words)


def _is_binary(entry: dict[str, Any]) -> bool:
    return bool(entry["task"] == FRACTURE_TASK)
