"""`fracture-queue dicom-result`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from cli.environment import installation_here
from cli.parameters import ROW_ID
from core.answers import DOUBTFUL
from core.dicom.signs import MEDIA_TYPE
from core.doubts import KIND, WHETHER
from core.errors import ConfigurationError, NotFound
from core.ingest import too_large
from core.named_files import read_named
from core.plausibility import sentence_of
from core.pseudonyms import Pseudonyms
from core.records.arrivals import AnsweredArrival, answered_arrival
from core.records.results import Result
from core.settings import Settings
from core.store import open_store


@click.command()
@click.argument("arrival", type=ROW_ID)
@click.option(
    "--format",
    "form",
    type=click.Choice(["json", "sr"]),
    default="json",
    show_default=True,
    help="sr: a DICOM Structured Report; it needs --output.",
)
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write to a file.")
@click.option(
    "--original",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The DICOM file that came in: the result then names its numbers and its patient instead of ours.",
)
def dicom_result(arrival: int, form: str, output: Path | None, original: Path | None) -> None:
    """Write what was answered to the DICOM object of ARRIVAL. Research use only, unverified; never a diagnosis.

    Numbers of arrivals are on the pages of radiographs and in the API.

    Example: fracture-queue dicom-result 12 --format sr --output report.dcm --original wrist.dcm
    """
    if form == "sr" and output is None:
        raise click.UsageError("--format sr needs --output FILE.")
    settings, database = installation_here()
    try:
        with database.reading() as session:
            found = answered_arrival(session, arrival)
    finally:
        database.dispose()
    if any(radiograph.media_type != MEDIA_TYPE for radiograph in found.radiographs):
        raise NotFound(f"Arrival {arrival} is no DICOM object; `fracture-queue results` shows what was answered.")
    from core.dicom.reference import original_reference, stored_reference
    from core.dicom.report import NOTICE, write_report

    pseudonyms = Pseudonyms.of(settings)
    stored = open_store(settings).get(found.radiographs[0].storage_key)
    about = (
        stored_reference(stored, pseudonyms)
        if original is None
        else original_reference(_read(original, settings), stored, pseudonyms)
    )
    if form == "json":
        written = json.dumps({"notice": NOTICE, **_document(found), "object": about.document()}, indent=2).encode()
    else:
        findings = [_words(result, len(found.radiographs)) for result in found.results]
        at = max((each.finished_at for each in found.results if each.finished_at), default=found.received_at)
        written = write_report(about, findings, at, pseudonyms)
    if output is None:
        click.echo(written.decode())
        return
    try:
        output.write_bytes(written)
    except OSError as error:
        raise ConfigurationError(f"{output} cannot be written: {error.strerror}.") from error


def _read(original: Path, settings: Settings) -> bytes:
    try:
        found = read_named(original, settings.max_file_bytes, beginning=0)
    except OSError as error:
        raise ConfigurationError(f"{original} cannot be read: {error.strerror}.") from error
    if found.data is None:
        raise ConfigurationError(f"{original}: {too_large(found.size, settings)}")
    return found.data


def _document(found: AnsweredArrival) -> dict[str, Any]:
    return {
        "research_use_only": True,
        "verified": False,
        "arrival": found.id,
        "submission": found.submission_id,
        "received_at": found.received_at.isoformat(),
        "results": [result.document() for result in found.results],
    }


def _words(result: Result, frames: int) -> str:
    """Say what one model answered, as a sentence for a report."""
    which = f"Frame {result.frame + 1}: " if frames > 1 else ""
    if result.model is None:
        return f"{which}No model was asked."
    if result.label is None or result.confidence is None:
        reason = result.error["words"] if result.error else "no answer"
        return f"{which}{result.model} gave no answer: {reason}"
    if refusal := sentence_of(result.flags):
        return f"{which}{result.model}: {refusal}."
    others = [label for label in result.prediction_set if label != result.label]
    rest = f" Not ruled out: {', '.join(others)}." if others else ""
    unsure = WHETHER if result.fracture is not None and result.fracture.model == result.model else KIND
    doubt = f" It is {unsure}; a person should look." if DOUBTFUL in result.flags else ""
    kind = "if fractured, " if result.kind_is_secondary else ""
    return f"{which}{result.model}: {kind}{result.label}, probability {result.confidence:.2f}.{rest}{doubt}"
