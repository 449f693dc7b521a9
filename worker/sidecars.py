"""NAME.json beside a file of the inbox: its tags, its submission's name, its priority.

A sidecar is taken with its file and leaves with it. One that cannot be read costs the file nothing: it goes to
`failed/` with the reason.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from worker.moving import move_aside, shortened, write_reason

#: Its name in the claim's folder; hidden, so that it is never taken for the file itself.
KEPT_AS = ".sidecar.json"
ALONE = "A sidecar NAME.json needs its file NAME beside it; there was none."
_LONGEST_FILE_NAME = 255
_MOST_BYTES = 64 * 2**10
_MOST_TAGS, _LONGEST_TAG, _LONGEST_NAME = 20, 64, 200
#: Of the files that NAME.json may describe; any other needs NAME.EXT.json.
_KINDS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".dcm", ".zip", ".tar", ".tar.gz", ".tgz")
_PRIORITIES = range(-100, 101)


class BadSidecar(ValueError):
    """It says nothing that can be understood; the message is a sentence."""


@dataclass(frozen=True)
class Sidecar:
    """What a person says of a file."""

    tags: tuple[str, ...] = ()
    submission: str = ""
    priority: int | None = None


def read_sidecar(path: Path) -> Sidecar:
    """Read a sidecar.

    Raises:
        BadSidecar: Says what is wrong with it.
        OSError: It cannot be read.
    """
    with path.open("rb") as stream:
        data = stream.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise BadSidecar(f"The sidecar has more than {_MOST_BYTES // 2**10} KiB.")
    try:
        said = json.loads(data)
    except (ValueError, RecursionError):
        raise BadSidecar("The sidecar is no JSON.") from None
    if not isinstance(said, dict) or not said.keys() <= {"tags", "submission", "priority"}:
        raise BadSidecar("The sidecar is no JSON object with nothing but tags, submission and priority.")
    tags, name, priority = said.get("tags", []), said.get("submission", ""), said.get("priority")
    if not isinstance(tags, list) or len(tags) > _MOST_TAGS or not all(_is_word(tag, _LONGEST_TAG) for tag in tags):
        raise BadSidecar(f"Its tags are no list of at most {_MOST_TAGS} words of at most {_LONGEST_TAG} characters.")
    if name != "" and not _is_word(name, _LONGEST_NAME):
        raise BadSidecar(f"Its submission is no name of at most {_LONGEST_NAME} characters.")
    if priority is not None and (type(priority) is not int or priority not in _PRIORITIES):
        raise BadSidecar(f"Its priority is no whole number from {_PRIORITIES[0]} to {_PRIORITIES[-1]}.")
    return Sidecar(tuple(dict.fromkeys(tags)), name, priority)


def sidecar_of(path: Path) -> Path | None:
    """Return the sidecar that lies beside a file: NAME.EXT.json, else NAME.json."""
    if path.suffix.lower() == ".json":
        return None
    stem = next((path.name[: -len(kind)] for kind in _KINDS if path.name.lower().endswith(kind)), path.name)
    for candidate in (path.with_name(f"{path.name}.json"), path.with_name(f"{stem}.json")):
        if _is_file(candidate) and not candidate.is_symlink():
            return candidate
    return None


def has_file(sidecar: Path) -> bool:
    """Whether the file that a `.json` file describes lies beside it."""
    stem = sidecar.name[: -len(".json")]
    # Not a look through the folder: with thousands of sidecars that would be thousands of looks at thousands of names.
    names = (stem, *(f"{stem}{kind}" for suffix in _KINDS for kind in (suffix, suffix.upper())))
    return any(_is_file(sidecar.with_name(name)) for name in names if name)


def leave_with(folder: Path, target: Path, failed: Path, relative: Path) -> None:
    """Move the sidecar that a claim's folder holds to where its file went, or to `failed/` with the reason.

    Args:
        folder: The claim's.
        target: Where the file lies now.
        failed: For sidecars that cannot be understood.
        relative: The path that the file had below the inbox.

    Raises:
        OSError: It could not be moved.
    """
    kept = folder / KEPT_AS
    if not kept.is_file():
        return
    name = shortened(target.name, _LONGEST_FILE_NAME - len(".json")) + ".json"
    try:
        read_sidecar(kept)
    except BadSidecar as error:
        reasons = (f"{error} Its file was taken without it.",)
        move_aside(kept, failed, relative.with_name(name), before_leaving=lambda place: write_reason(place, reasons))
    else:
        move_aside(kept, target.parent, Path(name))


def _is_file(path: Path) -> bool:
    """Whether a file lies there; unlike `Path.is_file`, a name that is too long for a file is none."""
    return os.path.isfile(path)  # noqa: PTH113


def _is_word(value: object, longest: int) -> bool:
    return isinstance(value, str) and 0 < len(value.strip()) <= longest and value.isprintable()
