"""Model bundles: the network's files and the card that describes them.

A bundle is a folder `<models>/<name>/<version>/` with `model.keras`, `model.tflite`, `card.json` and `README.md`.
The card's own sha256 is the version's identity; the card names the sha256 of every file. Reading a card loads no
network; `Bundle.file` refuses a file that differs from its card.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import ModelMismatch, ModelNotFound
from core.preprocessing import GEOMETRY

TASKS = ("fracture-type", "fracture")
CARD_FILE = "card.json"


@dataclass(frozen=True)
class ModelCard:
    """The facts that serving needs, and the card whole."""

    name: str
    version: str
    title: str  # for people
    task: str  # "fracture-type" (ten classes) or "fracture" (fractured or not)
    labels: tuple[str, ...]  # in the order of the network's outputs
    side: int  # input side in pixels
    channels: int  # 1 or 3
    temperature: float  # divides the logits; 1 leaves the probabilities alone
    shift: float  # added to the first label's logit after that; 0 leaves it alone
    conformal_threshold: float | None  # least calibrated probability of a member of the prediction set
    doubt_threshold: float | None  # a top probability below this needs a human
    doubt_band: tuple[float, float] | None  # from the first to below the second, P(labels[0]) needs a human
    decision_threshold: float | None  # two labels: the answer is labels[0] from this P(labels[0]) on; None: the top one
    outlier_threshold: float | None  # a score above this is unlike the radiographs that made the model
    activation_shape: tuple[int, int] | None  # height and width of the network's activation maps; None: it gives none
    files: Mapping[str, str]  # file name to sha256
    document: Mapping[str, Any]  # the whole card, for people and for later readers

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> ModelCard:
        """Read a card.

        Raises:
            ModelMismatch: A field is missing or contradicts another.
        """
        try:
            card = cls(
                name=str(document["name"]),
                version=str(document["version"]),
                title=str(document.get("title") or document["name"]),
                task=str(document["task"]),
                labels=_words(document["labels"]),
                side=int(document["input"]["side"]),
                channels=int(document["input"]["channels"]),
                temperature=float(document["calibration"]["temperature"]),
                shift=float(document["calibration"].get("shift", 0.0)),
                conformal_threshold=_optional(document.get("conformal"), "threshold"),
                doubt_threshold=_optional(document.get("doubt"), "threshold"),
                doubt_band=_band(document.get("doubt")),
                decision_threshold=_optional(document.get("decision"), "threshold"),
                outlier_threshold=_optional(document.get("outlier"), "threshold"),
                activation_shape=_shape(document.get("activation")),
                files={str(name): str(digest) for name, digest in document["files"].items()},
                document=document,
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ModelMismatch(f"The model card is incomplete or wrong: {error!r}.") from error
        card._check(document["input"].get("geometry"), (document.get("decision") or {}).get("label"))
        return card

    def _check(self, geometry: object, decided: object) -> None:
        problems = []
        if self.task not in TASKS:
            problems.append(f"its task is {self.task!r}, not one of {', '.join(TASKS)}")
        if len(self.labels) < 2 or len(set(self.labels)) != len(self.labels):
            problems.append(f"its labels are not two or more different words: {', '.join(self.labels)}")
        if geometry != GEOMETRY:
            problems.append(f"its geometry is {geometry!r}, this program's is {GEOMETRY!r}")
        if not 16 <= self.side <= 4096 or self.channels not in (1, 3):
            problems.append(f"its input is {self.side} px with {self.channels} channels")
        if not 0 < self.temperature < math.inf:
            problems.append(f"its temperature is {self.temperature}")
        if not math.isfinite(self.shift):
            problems.append(f"its shift is {self.shift}")
        numbers = (self.conformal_threshold, self.doubt_threshold, self.decision_threshold, self.outlier_threshold)
        if not all(number is None or math.isfinite(number) for number in (*numbers, *(self.doubt_band or ()))):
            problems.append("one of its thresholds is no finite number")
        if self.decision_threshold is not None and (len(self.labels) != 2 or decided != self.labels[0]):
            problems.append(f"its decision is about {decided!r}, not the first of two labels")
        if self.doubt_band is not None and len(self.labels) != 2:
            problems.append("its doubt is a band, which needs two labels")
        if problems:
            raise ModelMismatch(f"The card of {self.name} {self.version} cannot be used: {'; '.join(problems)}.")


@dataclass(frozen=True)
class Bundle:
    """One model version on disk."""

    folder: Path
    card: ModelCard
    sha256: str  # of card.json: the version's identity

    @classmethod
    def open(cls, folder: Path) -> Bundle:
        """Read and check the card in `folder`; no network is loaded.

        Raises:
            ModelNotFound: The folder holds no card.
            ModelMismatch: The card is damaged or contradicts itself.
        """
        path = folder / CARD_FILE
        try:
            text = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise ModelNotFound(f"There is no model bundle in {folder}: {CARD_FILE} is missing.") from error
        except OSError as error:
            raise ModelNotFound(f"The model bundle in {folder} cannot be read: {error.strerror}.") from error
        try:
            document = json.loads(text)
        except ValueError as error:
            raise ModelMismatch(f"{path} is not JSON: {error}.") from error
        if not isinstance(document, dict):
            raise ModelMismatch(f"{path} is not a JSON object.")
        return cls(folder=folder, card=ModelCard.from_document(document), sha256=hashlib.sha256(text).hexdigest())

    def file(self, name: str) -> Path:
        """Return the path of one of the bundle's files after comparing its sha256 with the card.

        Raises:
            ModelMismatch: The file is missing, is not on the card, or differs from it.
        """
        expected = self.card.files.get(name)
        if expected is None:
            raise ModelMismatch(f"The card in {self.folder} names no file {name}.")
        path = self.folder / name
        try:
            found = sha256_of(path)
        except OSError as error:
            raise ModelMismatch(f"{path} cannot be read: {error.strerror}.") from error
        if found != expected:
            raise ModelMismatch(
                f"{path} differs from its card: sha256 {found[:12]}..., the card says {expected[:12]}..."
            )
        return path

    def verify(self) -> None:
        """Compare every file with the card.

        Raises:
            ModelMismatch: As `file`.
        """
        for name in self.card.files:
            self.file(name)


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file, in lower-case hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def find_bundles(models: Path) -> list[Bundle]:
    """Return the bundles below `models`, by name and version.

    Raises:
        ModelNotFound: The folder is missing or holds none.
        ModelMismatch: A card is damaged.
    """
    bundles = [Bundle.open(card.parent) for card in sorted(models.glob(f"*/*/{CARD_FILE}"))]
    if not bundles:
        raise ModelNotFound(f"There is no model bundle in {models}; expected NAME/VERSION/{CARD_FILE}.")
    return sorted(bundles, key=lambda bundle: (bundle.card.name, version_key(bundle.card.version)))


def version_key(version: str) -> tuple[tuple[int, int | str], ...]:
    """Order versions by their numbers: 1.10 comes after 1.9."""
    return tuple((0, int(part)) if part.isdecimal() else (1, part) for part in version.split("."))


def _words(labels: object) -> tuple[str, ...]:
    if not isinstance(labels, (list, tuple)):  # a single word would be taken letter by letter
        raise TypeError(f"labels are {labels!r}, not a list")
    return tuple(str(label) for label in labels)


def _band(section: Mapping[str, Any] | None) -> tuple[float, float] | None:
    if section is None or "low" not in section:
        return None
    return float(section["low"]), float(section["high"])


def _shape(section: Mapping[str, Any] | None) -> tuple[int, int] | None:
    return None if section is None else (int(section["height"]), int(section["width"]))


def _optional(section: Mapping[str, Any] | None, key: str) -> float | None:
    value = None if section is None else section.get(key)
    return None if value is None else float(value)
