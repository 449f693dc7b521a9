"""The filtered list, and what readers said, as files made by processes of their own, with which their memory ends."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from flask import Blueprint, Response, request
from marshmallow import Schema

from core.bundle import TASKS
from core.errors import DatabaseUnavailable, NotFound
from core.records.labels import is_anything_reviewed
from core.records.results import labels_of
from web.kinds import Choice
from web.parameters import FilterParameters, read
from web.parts import parts

blueprint = Blueprint("exports", __name__)

_TYPES = {"csv": "text/csv; charset=utf-8", "json": "application/json", "parquet": "application/vnd.apache.parquet"}
_CHUNK = 2**16
_FILTERS_AS_FLAGS = {"reviewed": ("--reviewed", "--not-reviewed"), "agreed": ("--agreed", "--disagreed")}


@blueprint.get("/results/export.<any(csv, json, parquet):form>")
def get_export(form: str) -> Response:
    """Return every result that fits the filters of the address, newest first.

    Errors: 400 a parameter cannot be used, 404 there is no such model, 503 the file could not be made.
    """
    asked = read(FilterParameters, request.args, strict=False)
    with parts().database.reading() as session:
        labels_of(session, asked.get("model"))  # refuses an unknown model before anything is sent
    command = [sys.executable, "-m", "cli.main", "results", "--format", form, *_options(asked)]
    name = f"fracture-queue-{datetime.now(UTC):%Y%m%d-%H%M%S}.{form}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Content-Type": _TYPES[form]}
    if form == "parquet":
        made = _made(command, "--output", "results.parquet")
        answer = Response(_from_file(made), headers=headers)
        answer.call_on_close(lambda: shutil.rmtree(made.parent, ignore_errors=True))
        return answer
    # No shell reads it, and each value is glued to its option. What goes wrong is said in this process's log.
    process = subprocess.Popen(command, env=_environment(), stdout=subprocess.PIPE)  # noqa: S603 - our own program
    assert process.stdout is not None  # noqa: S101 - tells the type checker; it was asked for
    first = process.stdout.read1(_CHUNK)  # type: ignore[attr-defined]  # a pipe is buffered
    if not first:
        raise DatabaseUnavailable(f"The export could not be made (exit code {process.wait()}); the log says more.")
    answer = Response(_from_pipe(process, first), headers=headers)
    # Who asks for the head alone, or has gone already, never begins to read; then nothing else would end the child.
    answer.call_on_close(lambda: _end(process))
    return answer


class LabelParameters(Schema):
    """Which question the labels answer."""

    task = Choice(TASKS, "The question to learn: the kind of fracture, or whether there is one.")


@blueprint.get("/review/labels.zip")
def get_labels() -> Response:
    """Return reviewed radiographs and their labels as data to train on.

    An admin's alone: who may have to read second must not know what was said first.

    Errors: 400 there is no such question, 404 nothing was reviewed, 503 the file could not be made.
    """
    task = read(LabelParameters, request.args, strict=False).get("task", TASKS[0])
    with parts().database.reading() as session:
        if not is_anything_reviewed(session):
            raise NotFound("Nothing has been reviewed yet that could be exported.")
    made = _made([sys.executable, "-m", "cli.main", "export", "--task", task], "", "labels.zip")
    name = f"fracture-queue-labels-{datetime.now(UTC):%Y%m%d-%H%M%S}.zip"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Content-Type": "application/zip"}
    answer = Response(_from_file(made), headers=headers)
    answer.call_on_close(lambda: shutil.rmtree(made.parent, ignore_errors=True))
    return answer


def _options(asked: dict[str, Any]) -> list[str]:
    options: list[str] = []
    for name, value in asked.items():
        if name in _FILTERS_AS_FLAGS:
            options.append(_FILTERS_AS_FLAGS[name][0 if value else 1])
        else:
            text = value.isoformat() if isinstance(value, datetime) else str(getattr(value, "value", value))
            options.append(f"--{name.replace('_', '-')}={text}")
    return options


def _environment() -> dict[str, str]:
    """The child finds the same installation, whatever this process was told on its way."""
    settings = parts().settings
    return {
        **os.environ,
        "FRACTURE_HOME": str(settings.home),
        "FRACTURE_DATABASE_URL": settings.database_url,
        "FRACTURE_STORE_URL": settings.store_url,
        "PYTHONPATH": os.pathsep.join(sys.path),
    }


def _from_pipe(process: subprocess.Popen[bytes], first: bytes) -> Iterator[bytes]:
    """Pass on what the child writes; end the child when the reader is gone."""
    stream: IO[bytes] | None = process.stdout
    try:
        yield first
        while stream is not None and (chunk := stream.read(_CHUNK)):
            yield chunk
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the child; once more does no harm."""
    process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _made(command: list[str], option: str, name: str) -> Path:
    """Let the child write a file, which Parquet and ZIP need, in a folder of its own; return the file."""
    output = Path(tempfile.mkdtemp(prefix="fracture-export-")) / name
    ran = subprocess.run(  # noqa: S603 - as above
        [*command, *([option] if option else []), str(output)],
        env=_environment(),
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if ran.returncode:
        shutil.rmtree(output.parent)
        said = ran.stderr.strip().splitlines()
        raise DatabaseUnavailable(f"The export could not be made: {said[-1] if said else ran.returncode}")
    return output


def _from_file(file: Path) -> Iterator[bytes]:
    """Pass on a file, then remove it and its folder."""
    try:
        with file.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                yield chunk
    finally:
        shutil.rmtree(file.parent, ignore_errors=True)
