"""What would the queue make of a file? Asks every part that would be asked, and writes nothing.

No database, no inbox, no store: the parts are called for what they say alone.
"""

from __future__ import annotations

import io
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core import images
from core.archives import is_archive, limits_of, members, survey
from core.bundle import Bundle
from core.errors import RejectedImage, TooMuchMemory, UnsupportedFormat
from core.ingest import BEGINNING, displayable, too_large
from core.pictures import DicomFacts, ImageFacts
from core.plausibility import sentence_of
from core.preprocessing import Placement, placement, read_radiograph, to_model_input
from core.pseudonyms import Pseudonyms
from core.settings import Settings
from core.words import none_usable
from worker.endings import breaks_off
from worker.memory import limited_memory
from worker.settling import UNFINISHED_PATIENCE, is_ignored
from worker.sidecars import ALONE, BadSidecar, Sidecar, has_file, read_sidecar, sidecar_of
from worker.waiting import NO_FILE

#: Stands in for the installation's key, which a look must not make: what hashes look like decides nothing.
_NO_KEY = "explain"


@dataclass(frozen=True)
class Refusal:
    """Why something is not taken, in the queue's own words."""

    code: str
    words: str
    stage: str  # where: "inbox" leaves it alone, the "door" rejects it, "decoding" fails its job


@dataclass(frozen=True)
class ModelInput:
    """How one size of network would see a page."""

    side: int  # pixels
    channels: int
    models: tuple[str, ...]
    place: Placement


@dataclass(frozen=True)
class Page:
    """One radiograph of a file."""

    number: int  # from 1
    width: int  # pixels, as the header says
    height: int
    bit_depth: int
    inputs: tuple[ModelInput, ...] = ()
    flags: tuple[str, ...] = ()
    words: str | None = None  # what the flags say, as the pages show it
    refusal: Refusal | None = None


@dataclass
class Explanation:
    """What is known of one file, or of one in an archive."""

    name: str
    bytes: int
    refusal: Refusal | None = None
    media_type: str | None = None
    mode: str | None = None  # Pillow's word for the pixels, or DICOM's
    dicom: DicomFacts | None = None
    pages: list[Page] = field(default_factory=list)
    sidecar: Sidecar | None = None
    notes: list[str] = field(default_factory=list)
    ignored: int = 0  # hidden files of an archive
    members: list[Explanation] = field(default_factory=list)
    preview: NDArray[np.uint8] | None = None  # (side, side), what the first network would see of the first page

    @property
    def taken(self) -> bool:
        """Whether it would be classified: of an archive at least one file, of a file every page."""
        if self.refusal is not None:
            return False
        return any(member.taken for member in self.members) or bool(
            self.pages and all(page.refusal is None for page in self.pages)
        )


def explain(path: Path, settings: Settings, bundles: Sequence[Bundle]) -> Explanation:
    """Look at a file as the inbox, the door and a worker would.

    Args:
        path: The file; it need not lie in the inbox.
        settings: Limits.
        bundles: The models whose inputs are described, the one of the preview first.

    Raises:
        OSError: It cannot be looked at.
    """
    found = path.lstat()
    within = path.is_relative_to(settings.inbox)
    explanation = Explanation(displayable(path.name), found.st_size)
    if is_ignored(path.relative_to(settings.inbox) if within else Path(path.name)):
        words = "Hidden files, unfinished downloads and what systems leave in folders are left alone in the inbox."
        explanation.refusal = Refusal("ignored", words, "inbox")
    elif not stat.S_ISREG(found.st_mode):
        explanation.refusal = Refusal("no-file", NO_FILE, "inbox")
    elif path.suffix.lower() == ".json":
        explanation.refusal = Refusal(UnsupportedFormat.code, ALONE, "door")
        if has_file(path):
            explanation.refusal = Refusal("sidecar", "It is taken with the file beside it, as its sidecar.", "inbox")
    else:
        _look_beside(explanation, path, settings)
        _look_into(explanation, path, settings, bundles)
    return explanation


def _look_beside(explanation: Explanation, path: Path, settings: Settings) -> None:
    beside = sidecar_of(path)
    if beside is not None:
        try:
            explanation.sidecar = read_sidecar(beside)
        except BadSidecar as error:
            explanation.notes.append(f"{error} The file is taken without it.")
    if breaks_off(path, most_bytes=settings.max_file_bytes):
        seconds = UNFINISHED_PATIENCE * settings.settle_seconds
        explanation.notes.append(f"The file breaks off; the inbox would wait {seconds:g} s for the rest of it.")


def _look_into(explanation: Explanation, path: Path, settings: Settings, bundles: Sequence[Bundle]) -> None:
    with path.open("rb") as stream:
        beginning = stream.read(BEGINNING)
        stream.seek(0)
        try:
            if is_archive(beginning):
                _unpack(explanation, stream, settings, bundles)
            elif explanation.bytes > settings.max_file_bytes:
                raise too_large(explanation.bytes, settings)
            else:
                _examine(explanation, stream.read(), settings, bundles)
        except RejectedImage as problem:
            explanation.refusal = Refusal(problem.code, str(problem), "door")


def _unpack(explanation: Explanation, stream: io.BufferedReader, settings: Settings, bundles: Sequence[Bundle]) -> None:
    limits = limits_of(settings)
    explanation.ignored = survey(stream, limits).ignored
    for file in members(stream, limits):
        member = Explanation(displayable(file.name), file.size)
        explanation.members.append(member)
        try:
            if file.problem is not None:
                raise file.problem
            if file.data is None or file.size > settings.max_file_bytes:
                raise too_large(file.size, settings)
            _examine(member, file.data, settings, bundles)
        except RejectedImage as problem:
            member.refusal = Refusal(problem.code, str(problem), "door")
        if explanation.preview is None:
            explanation.preview = member.preview
        member.preview = None  # thousands of them would fill the memory
    if not any(member.taken for member in explanation.members):
        words = f"{none_usable(len(explanation.members))}."
        explanation.refusal = Refusal(RejectedImage.code, words, "door")


def _examine(explanation: Explanation, data: bytes, settings: Settings, bundles: Sequence[Bundle]) -> None:
    """Ask the door and the decoder.

    Raises:
        RejectedImage: The door's answer.
    """
    facts = images.inspect(data, max_pixels=settings.max_pixels)
    explanation.media_type, explanation.dicom = facts.media_type, facts.dicom
    if facts.dicom is None:
        with Image.open(io.BytesIO(data)) as image:
            explanation.mode = image.mode
    else:
        _ask_dicom(explanation, data, facts.dicom, settings)
    explanation.pages.extend(_pages(explanation, data, facts, settings, bundles))


def _ask_dicom(explanation: Explanation, data: bytes, facts: DicomFacts, settings: Settings) -> None:
    from core.dicom import profile, reading  # costs a quarter of a second, which other files never pay

    explanation.mode = reading.words(reading.read(data), "PhotometricInterpretation")
    if not settings.keep_identifiers:
        profile.deidentified(data, Pseudonyms(_NO_KEY))
    if facts.burned_in:
        may = "holds" if facts.burned_in == "yes" else "may hold"
        explanation.notes.append(f"The picture {may} text that names the patient; it is not removed.")


def _pages(
    explanation: Explanation, data: bytes, facts: ImageFacts, settings: Settings, bundles: Sequence[Bundle]
) -> Iterator[Page]:
    sizes: dict[tuple[int, int], list[str]] = {}
    for bundle in bundles:
        sizes.setdefault((bundle.card.side, bundle.card.channels), []).append(
            f"{bundle.card.name}/{bundle.card.version}"
        )
    side, channels = max(sizes, default=(1, 1))
    for number, frame in enumerate(facts.frames):
        page = Page(number + 1, frame.width, frame.height, frame.bit_depth)
        try:
            with limited_memory(settings.memory_limit_mib):
                reading = read_radiograph(
                    data, side=side, channels=channels, max_pixels=settings.max_pixels, frame=number
                )
        except RejectedImage as problem:
            yield replace(page, refusal=Refusal(problem.code, str(problem), "decoding"))
            continue
        except MemoryError:
            yield replace(page, refusal=Refusal(TooMuchMemory.code, str(TooMuchMemory()), "decoding"))
            continue
        if explanation.preview is None and bundles:
            first = bundles[0].card
            explanation.preview = to_model_input(reading.pixels, side=first.side, channels=1)[:, :, 0]
        height, width = reading.pixels.shape
        seen = tuple(
            ModelInput(side, channels, tuple(models), placement(width, height, side=side))
            for (side, channels), models in sizes.items()
        )
        yield replace(page, inputs=seen, flags=reading.words, words=sentence_of(reading.words))
