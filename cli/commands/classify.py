"""`fracture-queue classify`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import numpy as np

from cli.environment import settings_here
from core import images
from core.answers import Answer, answers
from core.bundle import Bundle, find_bundles
from core.engines.protocol import Classifier, load_classifier
from core.errors import ModelNotFound, RejectedImage, UnreadableImage
from core.preprocessing import to_model_input
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
    classifiers = [load_classifier(bundle, settings.engine) for bundle in _chosen(settings, model)]
    found = [_ask(classifier, path, settings) for path in files for classifier in classifiers]
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        for entry in found:
            click.echo(_line(entry))
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
    return {**entry, **vars(answer), "prediction_set": list(answer.prediction_set), "flags": list(answer.flags)}


def _answer(classifier: Classifier, path: Path, settings: Settings) -> Answer:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UnreadableImage(f"{path} cannot be read: {error.strerror}.") from error
    pixels = images.decode(data, max_pixels=settings.max_pixels)
    picture = to_model_input(pixels, side=classifier.card.side, channels=classifier.card.channels)
    (answer,) = answers(classifier.probabilities(picture[np.newaxis]), classifier.card)
    if answer is None:
        raise UnreadableImage("The network's answer is not a set of probabilities.")
    return answer


def _line(entry: dict[str, Any]) -> str:
    if entry["error"]:
        return f"{entry['name']}: {entry['error']['words']} ({entry['error']['code']})"
    others = ", ".join(
        f"{label} {score:.2f}" for label, score in sorted(entry["scores"].items(), key=lambda item: -item[1])[1:3]
    )
    return f"{entry['name']}: {entry['label']} {entry['confidence']:.2f} ({others}; {entry['model']})"
