"""`fracture-queue explain`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.environment import settings_here
from core.bundle import Bundle, find_bundles
from core.errors import ConfigurationError, ModelError
from core.settings import Settings
from core.words import counted

if TYPE_CHECKING:
    from worker.explaining import Explanation, ModelInput, Page


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--preview", type=click.Path(path_type=Path), metavar="FILE.png", help="Write what a network would see.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def explain(file: Path, preview: Path | None, as_json: bool) -> None:
    """Say what the queue would make of a file: whether it is taken, why not, and what networks would see of it.

    Touches nothing: neither database nor inbox nor store. Exit code 0 when it would be taken and classified, else 1. Of
    an archive at least one file has to be. Networks are the newest of each installed model.

    Example: fracture-queue explain wrist.dcm --preview wrist.png
    """
    from worker.explaining import explain as look

    settings = settings_here()
    file = file.absolute()
    if preview is not None:
        preview = preview.absolute()
        _refuse_place(preview, settings)
    if file.is_dir():
        raise ConfigurationError(f"{file} is a folder; the inbox takes its files one by one: explain one of them.")
    bundles, words = _newest(settings)
    try:
        found = look(file, settings, bundles)
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}.") from error
    found.notes += words
    if as_json:
        click.echo(json.dumps(document(found), indent=2))
    else:
        for line in lines(found):
            click.echo(line)
    if preview is not None:
        _write(preview, found)
    if not found.taken:
        raise SystemExit(1)


def document(found: Explanation) -> dict[str, Any]:
    """Return the JSON document; its keys are a contract."""
    return {
        "name": found.name,
        "bytes": found.bytes,
        "taken": found.taken,
        "error": asdict(found.refusal) if found.refusal else None,
        "media_type": found.media_type,
        "mode": found.mode,
        "dicom": asdict(found.dicom) if found.dicom else None,
        "sidecar": asdict(found.sidecar) if found.sidecar else None,
        "notes": found.notes,
        "ignored": found.ignored,
        "pages": [_page(page) for page in found.pages],
        "files": [document(member) for member in found.members],
    }


def _page(page: Page) -> dict[str, Any]:
    said = asdict(page)
    said["error"] = said.pop("refusal")
    return said


def lines(found: Explanation, indent: str = "") -> Iterator[str]:
    """Say it in sentences."""
    below = indent + "  "
    if found.refusal:
        verb = "would be left alone" if found.refusal.stage == "inbox" else "would be rejected"
        yield f"{indent}{found.name}: {verb}. {found.refusal.words} ({found.refusal.code})"
    elif found.taken:
        yield f"{indent}{found.name}: would be taken."
    else:
        yield f"{indent}{found.name}: would be accepted, and then fail."
    if found.members:
        ignored = f", and {counted(found.ignored, 'that is', 'that are')} left out" if found.ignored else ""
        yield f"{below}an archive of {counted(len(found.members), 'file')}{ignored}"
    if found.dicom:
        facts = (found.dicom.modality, found.dicom.body_part, found.dicom.laterality, found.dicom.view)
        yield f"{below}DICOM: {', '.join(fact for fact in facts if fact)}"
    for page in found.pages:
        yield from _page_lines(found, page, below)
    if found.sidecar:
        said = found.sidecar
        yield (
            f"{below}sidecar: tags {', '.join(said.tags) or 'none'}; submission {said.submission or 'none'}; "
            f"priority {'as usual' if said.priority is None else said.priority}"
        )
    for note in found.notes:
        yield f"{below}note: {note}"
    for member in found.members:
        yield from lines(member, below)


def _page_lines(found: Explanation, page: Page, indent: str) -> Iterator[str]:
    which = f"page {page.number}: " if len(found.pages) > 1 else ""
    yield (
        f"{indent}{which}{page.width} x {page.height} pixels, {page.bit_depth} bits, {found.mode} ({found.media_type})"
    )
    if page.refusal:
        yield f"{indent}fails: {page.refusal.words} ({page.refusal.code})"
    for seen in page.inputs:
        yield f"{indent}for {', '.join(seen.models)}: {_placed(seen)}"
    if page.flags:
        yield f"{indent}flags: {', '.join(page.flags)}. {page.words}."


def _placed(seen: ModelInput) -> str:
    place, side = seen.place, seen.side
    right, bottom = side - place.width - place.left, side - place.height - place.top
    margins = [
        f"{pixels} {where}"
        for pixels, where in ((place.left, "left"), (right, "right"), (place.top, "above"), (bottom, "below"))
        if pixels
    ]
    black = f", black margins of {', '.join(margins)}" if margins else ", no margins"
    return f"{place.width} x {place.height} in a square of {side}{black}"


def _newest(settings: Settings) -> tuple[list[Bundle], list[str]]:
    """Return the newest bundle of each name, and what is to be said where there are none."""
    newest: dict[str, Bundle] = {}
    try:
        for bundle in find_bundles(settings.models):  # by version, so that the newest stays
            newest[bundle.card.name] = bundle
    except ModelError as error:
        return [], [str(error)]
    return list(newest.values()), [] if newest else ["No model is installed, so nothing can be said of networks."]


def _refuse_place(preview: Path, settings: Settings) -> None:
    if preview.suffix.lower() != ".png":
        raise ConfigurationError(f"{preview} does not end in .png.")
    if preview.is_relative_to(settings.inbox):
        raise ConfigurationError(f"{preview} lies in the inbox; it would be taken for a radiograph.")
    if preview.exists():
        raise ConfigurationError(f"{preview} is there already.")


def _write(preview: Path, found: Explanation) -> None:
    from PIL import Image

    if found.preview is None:
        click.echo("No preview: there is nothing to show.", err=True)
        return
    try:
        with preview.open("xb") as stream:
            Image.fromarray(found.preview).save(stream, "PNG")
    except OSError as error:
        raise ConfigurationError(f"{preview} cannot be written: {error.strerror}.") from error
