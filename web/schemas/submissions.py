"""What the API says of uploads, drops and commands."""

from __future__ import annotations

from typing import Any

from flask import url_for
from marshmallow import fields, pre_dump

from core.tables import ArrivalStatus
from web.schemas.shapes import (
    Address,
    Answer,
    fracture,
    moment,
    number,
    source,
    status,
    text,
    texts,
    trouble,
    truth,
    whole,
)


class ResultInSubmission(Answer):
    """A radiograph of a submitted file and its answer."""

    id = whole("The radiograph's number.")
    status = status("Of the job of the model asked for; null where it was never asked.", allow_none=True)
    label = text("The answer.", allow_none=True)
    confidence = number("Calibrated probability of the label, 0 to 1.", allow_none=True)
    flags = texts("Why a person should look.")
    model = text("NAME/VERSION of the model that answered or will.", allow_none=True)
    error = trouble("Why it failed.")
    unfinished = truth("Whether some model still has to answer.")
    fracture = fracture()
    page = Address("radiograph.radiograph_page", "Its page, for people.", radiograph_id="id")
    image = Address("images.get_image", "Its picture as PNG.", radiograph_id="id")


class SubmittedFile(Answer):
    """One file of a submission."""

    arrival = whole("The number of this arrival.", attribute="arrival_id")
    name = text("As given, control characters replaced.")
    status = fields.Enum(
        ArrivalStatus, by_value=True, required=True, metadata={"description": "What the door said of the file."}
    )
    duplicate = truth("Whether the same bytes were here before.")
    radiographs = fields.List(
        fields.Integer(), required=True, metadata={"description": "The numbers of its radiographs; one a page."}
    )
    urls = texts("The addresses of its radiographs.")
    error = trouble("Why it was refused.")
    results = fields.List(fields.Nested(ResultInSubmission), required=True)

    @pre_dump
    def _list_radiographs(self, file: Any, **_: Any) -> dict[str, Any]:
        numbers = [result.id for result in file.results]
        urls = [url_for("api.get_one", radiograph_id=number) for number in numbers]
        return {**vars(file), "radiographs": numbers, "urls": urls}


class FileCounts(Answer):
    """How many files of a submission stand where, by the least finished of a file's jobs."""

    waiting = whole("In the queue.")
    running = whole("Being classified.")
    done = whole("Classified.")
    failed = whole("Ended with a stated failure.")
    quarantined = whole("Set aside after three deaths of their workers.")
    cancelled = whole("Taken back by a person.")
    rejected = whole("Refused at the door.")


class ListedSubmission(Answer):
    """One line of the list of submissions."""

    submission = whole("Its number.", attribute="id")
    name = text("Given by a person; may be empty.")
    source = source()
    created_at = moment("When it came in.")
    files = whole("How many files it has.")
    url = Address("api.get_submission", "The whole of it.", submission_id="id")
    page = Address("upload.submission_page", "Its page, for people.", submission_id="id")


class Submissions(Answer):
    """A page of submissions, newest first."""

    submissions = fields.List(fields.Nested(ListedSubmission), required=True)
    next = text("The address of the following page; null on the last.", allow_none=True)


class Submission(Answer):
    """One upload, drop or command, and where each of its files stands."""

    submission = whole("Its number.", attribute="id")
    name = text("Given by a person; may be empty.")
    source = source()
    created_at = moment("When it came in.")
    url = Address("api.get_submission", "This document.", submission_id="id")
    page = Address("upload.submission_page", "Its page, for people.", submission_id="id")
    unfinished = whole("How many of its files still wait for an answer.")
    counts = fields.Nested(FileCounts, required=True, metadata={"description": "How many of its files stand where."})
    seconds_left = number(
        "An estimate of when its last file is finished, coarse; 0: it is; null: nobody can know.", allow_none=True
    )
    files = fields.List(fields.Nested(SubmittedFile), required=True)
    next = text("The address of the files after these; null on the last page.", allow_none=True)

    @pre_dump
    def _flatten(self, told: dict[str, Any], **_: Any) -> dict[str, Any]:
        state, following = told["state"], None
        if state.following is not None:
            following = url_for("api.get_submission", submission_id=state.id, after=state.following)
        counts = {"counts": state.counts.document(), "unfinished": state.unfinished, "next": following}
        return {**vars(state), **counts, "seconds_left": told["seconds_left"]}
