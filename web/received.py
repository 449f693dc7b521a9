"""The files of one request, on their way to `core.ingest`."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from flask import request
from marshmallow import Schema
from sqlalchemy.orm import Session
from werkzeug.datastructures import FileStorage

from core.archives import is_archive, limits_of, taken_apart
from core.ingest import BEGINNING, Incoming, displayable
from core.records.intake import Intake, Submission
from core.settings import Settings
from core.tables import Source
from web.identity import Kind, actor_words, who
from web.kinds import Whole
from web.parameters import read
from web.parts import parts
from web.problems import BadParameter, NoFiles, TooMuchAtOnce

FIELD = "files"
_LONGEST_SUBMISSION_NAME = 200


class UploadParameters(Schema):
    """What the form may say beside its files."""

    submission = Whole("The number of an earlier submission that these files join.", 1)


#: The form as the API's document shows it.
UPLOAD_FORM: dict[str, Any] = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": [FIELD],
                "properties": {
                    FIELD: {
                        "type": "array",
                        "minItems": 1,
                        "items": {"type": "string", "contentMediaType": "application/octet-stream"},
                        "description": "Radiographs: DICOM, JPEG, PNG, BMP, TIFF or WebP; or archives of them.",
                    },
                    "name": {"type": "string", "description": "The submission's name, for people."},
                    "submission": {
                        "type": "integer",
                        "minimum": 1,
                        "description": "The number of an earlier submission that these files join.",
                    },
                },
            }
        }
    },
}


def received(files: Sequence[FileStorage], settings: Settings) -> Iterator[Incoming]:
    """Read each file when it is asked for, so that only those in hand are in memory; of archives each member."""
    limits = limits_of(settings)
    for file in files:
        size = file.stream.seek(0, os.SEEK_END)
        file.stream.seek(0)
        name, beginning = file.filename or "unnamed", file.stream.read(BEGINNING)
        if not is_archive(beginning):
            file.stream.seek(0)
            data = file.stream.read() if size <= settings.max_file_bytes else None
            yield Incoming(name=name, data=data, size=size, beginning=beginning)
            continue
        yield from taken_apart(file.stream, name, size, limits)


def take_upload(source: Source, *, also: Callable[[Session, Intake], None] | None = None) -> Intake:
    """Take the files of this request's form; when this returns, they are safe.

    The form may name the submission (`name`), or the number of an earlier one that these files join (`submission`).

    Args:
        source: The door.
        also: Writes in the transaction that records them.

    Raises:
        NoFiles: There is none.
        TooMuchAtOnce: There are more than `max_upload_files`.
        BadParameter: A field is unknown or wrong.
        Unavailable: Nothing was recorded; the request can be sent again.
        NotFound: There is no such earlier submission.
    """
    settings = parts().settings
    files = _files()
    if len(files) > settings.max_upload_files:
        raise TooMuchAtOnce(
            f"The upload has {len(files)} files; at most {settings.max_upload_files} are accepted at once."
        )
    submission = Submission(
        source=source,
        actor="door" if who().kind is Kind.OPEN else actor_words(),
        name=displayable(request.form.get("name") or " ").strip()[:_LONGEST_SUBMISSION_NAME],
        continues=read(UploadParameters, request.form, strict=False).get("submission"),
    )
    return parts().ingest.take(submission, received(files, settings), also=also)


def fingerprint() -> str:
    """Return a hash of all that this request's form says: its fields, and each file's name and content."""
    files = []
    for name, file in request.files.items(multi=True):
        file.stream.seek(0)
        files.append([name, file.filename, hashlib.file_digest(file.stream, "sha256").hexdigest()])  # type: ignore[arg-type]
    # A part whose header is damaged has no name, which sorts with no other.
    said = [request.path, sorted(map(list, request.form.items(multi=True)), key=json.dumps), files]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def _files() -> list[FileStorage]:
    # A part whose header is damaged has no name at all.
    strange = sorted({name or "" for name in request.files} - {FIELD})
    if strange:
        raise BadParameter(f"The field {displayable(strange[0])!r} carries a file; send files in the field {FIELD!r}.")
    # A browser sends one nameless, empty part for a form in which no file was chosen.
    files = [file for file in request.files.getlist(FIELD) if file.filename or file.stream.read(1)]
    if not files:
        raise NoFiles
    return files
