"""Make a bundle of a user's own trained model: one uint8 grey input, probabilities out, compiled, with a card."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.bundle import CARD_FILE, Bundle, sha256_of
from core.engines.protocol import load_classifier
from core.errors import ConfigurationError
from core.labels import normalise_label
from core.preprocessing import GEOMETRY
from training.compile import compile_litert, difference, refuse_difference
from training.imported_readme import imported_readme
from training.labels import TASK_LABELS
from training.model_files import load_model_file, reason
from training.report import STATEMENT

#: What a published network expects, from grey levels 0 to 255: one (scale, offset) for each of its three channels.
#: Source: the three modes of `keras.applications.imagenet_utils.preprocess_input`; caffe is blue, green, red.
INPUT_RANGES: Mapping[str, tuple[tuple[float, float], ...]] = {
    "0-255": ((1.0, 0.0),) * 3,
    "0-1": ((1 / 255, 0.0),) * 3,
    "-1-1": ((1 / 127.5, -1.0),) * 3,
    "caffe": ((1.0, -103.939), (1.0, -116.779), (1.0, -123.68)),
    "torch": tuple(
        (1 / 255 / deviation, -mean / deviation) for mean, deviation in ((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))
    ),
}
OUTPUTS = ("probabilities", "logits")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_SIDES = range(16, 4097)


@dataclass(frozen=True)
class Import:
    """What is imported, as what, and where to."""

    file: Path
    labels: tuple[str, ...]  # in the order of the network's outputs; a single sigmoid output is the second's
    task: str
    input_range: str  # one of INPUT_RANGES
    outputs: str  # one of OUTPUTS
    image_size: int | None  # pixels; None: the network says it
    models: Path
    name: str
    version: str
    title: str

    @property
    def folder(self) -> Path:
        """The bundle's folder."""
        return self.models / self.name / self.version


def read_labels(given: str) -> tuple[str, ...]:
    """Read labels from `a,b,c` or from a text file with one on each line; known names become this program's own.

    Raises:
        ConfigurationError: There are fewer than two, or one occurs twice.
    """
    path = Path(given)
    try:
        words = path.read_text(encoding="utf-8").splitlines() if path.is_file() else given.split(",")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"The labels in {path} cannot be read as text in UTF-8.") from error
    labels = tuple(_label(word) for word in words if word.strip())
    if len(labels) < 2 or len(set(labels)) < len(labels):
        raise ConfigurationError(f"At least two different labels are needed; these are {', '.join(labels) or 'none'}.")
    return labels


def task_of(labels: tuple[str, ...], wanted: str | None) -> str:
    """Return the task that labels answer.

    Raises:
        ConfigurationError: The wanted task needs other labels.
    """
    binary = set(labels) == set(TASK_LABELS["fracture"])
    if wanted == "fracture" and not binary:
        raise ConfigurationError(f"The task fracture needs the labels {' and '.join(TASK_LABELS['fracture'])}.")
    return wanted or ("fracture" if binary else "fracture-type")


def import_model(request: Import) -> Bundle:
    """Check a model, wrap it, compile it and move the bundle to its place whole. It is not activated.

    Raises:
        ConfigurationError: The file cannot be loaded safely, does not fit its labels, or returns no probabilities; or
            the version exists.
        ModelMismatch: The compiled network differs from the model.
    """
    if not (_NAME.fullmatch(request.name) and _NAME.fullmatch(request.version)):
        raise ConfigurationError(
            f"{request.name}/{request.version} is no name and version; use lower-case letters, digits, '.', '_', '-'."
        )
    if request.folder.exists():
        raise ConfigurationError(f"{request.folder} exists; a version never changes. Give another --version.")
    network = wrap(load_model_file(request.file), request)
    refuse_improbable(np.asarray(network(sample_pictures(network.input_shape[1]), training=False)), request)
    request.models.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".importing-", dir=request.models) as place:
        staging = Path(place) / "bundle"
        staging.mkdir()
        network.save(staging / "model.keras")
        try:
            (staging / "model.tflite").write_bytes(compile_litert(network))
        # The converter raises many kinds of error for operations that it does not know.
        except Exception as error:
            raise ConfigurationError(f"{request.file} cannot be compiled for serving: {reason(error)}.") from error
        _write_card(request, staging, network.input_shape[1], 0.0)
        found = _compare(Bundle.open(staging))
        _write_card(request, staging, network.input_shape[1], found)
        request.folder.parent.mkdir(exist_ok=True)
        shutil.move(staging, request.folder)
    return Bundle.open(request.folder)


def wrap(model: Any, request: Import) -> Any:
    """Give a network this program's contract: (N, side, side, 1) uint8 in, (N, classes) probabilities out.

    Raises:
        ConfigurationError: Its input or output is of another shape.
    """
    import keras

    side, channels = _input_size(model, request)
    entry = keras.Input((side, side, 1), dtype="uint8", name="radiograph")
    ranges = INPUT_RANGES[request.input_range][:channels]
    scaled = {
        pair: keras.layers.Rescaling(*pair, name=f"to_input_range_{index}")(entry)
        for index, pair in enumerate(dict.fromkeys(ranges))
    }
    picture = scaled[ranges[0]]
    if channels == 3:
        picture = keras.layers.Concatenate(name="grey_to_three_channels")([scaled[pair] for pair in ranges])
    answer = model(picture)
    width, classes = model.output_shape[-1], len(request.labels)
    if width == 1 and classes == 2:
        second = (
            keras.layers.Activation("sigmoid", name="probability")(answer) if request.outputs == "logits" else answer
        )
        first = keras.layers.Rescaling(-1.0, 1.0, name="of_the_first_label")(second)
        answer = keras.layers.Concatenate(name="two_labels")([first, second])
    elif width != classes:
        raise ConfigurationError(f"{request.file} answers {width} classes, but {classes} labels are given.")
    elif request.outputs == "logits":
        answer = keras.layers.Softmax(name="probabilities")(answer)
    return keras.Model(entry, answer, name="imported")


def sample_pictures(side: int) -> NDArray[np.uint8]:
    """Return (16, side, side, 1) uint8 made-up pictures: black, white, ramps and noise. Always the same."""
    generator = np.random.default_rng(0)
    ramp = np.tile(np.linspace(0, 255, side), (side, 1))
    noise = generator.integers(0, 256, (12, side, side))
    pictures = np.stack([np.zeros_like(ramp), np.full_like(ramp, 255), ramp, ramp.T, *noise])
    return pictures.astype(np.uint8)[..., np.newaxis]


def refuse_improbable(rows: NDArray[np.floating], request: Import) -> None:
    """Accept (N, classes) rows only if they are probabilities.

    Raises:
        ConfigurationError: They are not; says which option may help.
    """
    if not np.isfinite(rows).all():
        raise ConfigurationError(f"{request.file} returns numbers that are not finite; its weights may be damaged.")
    if (rows < -1e-6).any() or np.abs(rows.sum(axis=1) - 1).max() > 1e-3:
        hint = "; if the network ends without softmax or sigmoid, say --outputs logits"
        raise ConfigurationError(
            f"{request.file} returns numbers that do not sum to 1, so no probabilities"
            f"{hint if request.outputs == 'probabilities' else ''}."
        )


def _input_size(model: Any, request: Import) -> tuple[int, int]:
    if len(getattr(model, "inputs", None) or ()) != 1 or len(model.outputs) != 1:
        raise ConfigurationError(f"{request.file} has not one input and one output; save it with a fixed input.")
    taken, given = tuple(model.input_shape), tuple(model.output_shape)
    if len(taken) != 4 or taken[3] not in (1, 3) or len(given) != 2:
        raise ConfigurationError(
            f"{request.file} takes {taken} and answers {given}; needed are (N, side, side, 1 or 3) and (N, classes)."
        )
    sides = {side for side in (*taken[1:3], request.image_size) if side is not None}
    if not sides:
        raise ConfigurationError(f"{request.file} takes pictures of any size; say which with --image-size.")
    if len(sides) > 1 or not sides <= set(_SIDES):
        raise ConfigurationError(
            f"The input must be one square of {_SIDES[0]} to {_SIDES[-1]} px; {request.file} takes {taken}"
            + (f" and --image-size is {request.image_size}." if request.image_size else ".")
        )
    if taken[3] == 1 and request.input_range in ("caffe", "torch"):
        raise ConfigurationError(
            f"The input range {request.input_range} is for three channels; {request.file} takes one."
        )
    return sides.pop(), taken[3]


def _compare(bundle: Bundle) -> float:
    pictures = sample_pictures(bundle.card.side)
    kept, compiled = (load_classifier(bundle, engine).run(pictures) for engine in ("keras", "litert"))
    found = difference(kept, compiled, bundle.card)
    refuse_difference(found)
    return found.probability


def _label(word: str) -> str:
    for known in TASK_LABELS.values():
        try:
            return normalise_label(word, known)
        except ConfigurationError:
            continue
    slug = re.sub(r"[^a-z0-9]+", "-", word.lower()).strip("-")
    if not slug:
        raise ConfigurationError(f"The label {word!r} has no letters.")
    return slug


def _write_card(request: Import, staging: Path, side: int, engine_difference: float) -> None:
    at = datetime.now(UTC).isoformat(timespec="seconds")
    card = {
        "name": request.name,
        "version": request.version,
        "title": request.title,
        "task": request.task,
        "statement": STATEMENT,
        "labels": list(request.labels),
        "input": {"side": side, "channels": 1, "geometry": GEOMETRY},
        "calibration": {"method": "none", "temperature": 1.0, "fitted_on": None},
        "conformal": None,
        "doubt": None,
        "decision": None,
        "outlier": None,
        "activation": None,
        "metrics": {},
        "imported": {
            "file": request.file.name,
            "sha256": sha256_of(request.file),
            "at": at,
            "input_range": request.input_range,
            "outputs": request.outputs,
        },
        "engine_difference": engine_difference,
        "versions": {name: version(name) for name in ("keras", "tensorflow", "ai-edge-litert")},
        "published_at": at,
        "files": {name: sha256_of(staging / name) for name in ("model.keras", "model.tflite")},
    }
    (staging / CARD_FILE).write_text(json.dumps(card, indent=1) + "\n")
    (staging / "README.md").write_text(imported_readme(card))
