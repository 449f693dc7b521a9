"""What the API says of radiographs, and of the models that answer about them."""

from __future__ import annotations

from typing import Any

from flask import url_for
from marshmallow import fields, pre_dump

from core.records.details import ModelAnswer
from core.tables import ReviewKind
from web.schemas.shapes import (
    Address,
    Answer,
    fracture,
    moment,
    number,
    scores,
    source,
    status,
    text,
    texts,
    trouble,
    truth,
    whole,
)


class Listed(Answer):
    """A radiograph and the newest answer of the model asked for."""

    id = whole("The radiograph's number.")
    sha256 = text("Of the content as it came.")
    frame = whole("The page of a file with several, from 0.")
    name = text("Of its first arrival.")
    source = source()
    status = status("Of the model's job; null where it was never asked.", allow_none=True)
    label = text("The answer. Research and education only, never a diagnosis.", allow_none=True)
    confidence = number("Calibrated probability of the label, 0 to 1.", allow_none=True)
    scores = scores("Every label to its probability, the most probable first.")
    prediction_set = texts("The labels that cannot be ruled out at the card's coverage.")
    flags = texts("Why a person should look.")
    model = text("NAME/VERSION.", allow_none=True)
    received_at = moment("Of its first arrival.")
    finished_at = moment("When the job ended.", allow_none=True)
    error = trouble("Why it failed.")
    original_deleted = truth("Whether its original was deleted; then there is no picture.")
    patient_key = text("Of DICOM: a keyed hash, the same for all files of a patient.", allow_none=True)
    unfinished = truth("Whether some model still has to answer.")
    fracture = fracture()
    url = Address("api.get_one", "The whole of it.", radiograph_id="id")


class Page(Answer):
    """A page of results, newest first."""

    radiographs = fields.List(fields.Nested(Listed), required=True)
    next = text("The address of the following page; null on the last.", allow_none=True)


class AnswerOfModel(Answer):
    """What one model version was asked about a radiograph, and what came of it."""

    model = text("NAME/VERSION.")
    task = text("The question that it answers.")
    card_sha256 = text("The identity of the bundle.")
    active = truth("Whether new radiographs are classified by it.")
    status = status("Where its job stands.")
    label = text("The answer.", allow_none=True)
    confidence = number("Calibrated probability of the label, 0 to 1.", allow_none=True)
    scores = scores("Every label to its probability, the most probable first.")
    prediction_set = texts("The labels that cannot be ruled out at the card's coverage.")
    flags = texts("Why a person should look.")
    engine = text("What ran the network.", allow_none=True)
    waited_ms = number("From the job's creation to the start of the attempt that answered.", allow_none=True)
    decode_ms = number("Reading, decoding and resizing.", allow_none=True)
    infer_ms = number("This radiograph's share of the batch.", allow_none=True)
    activation = text("Where its activation map is, a transparent PNG; null where there is none.", allow_none=True)
    attempts = whole("How often it was begun.")
    deaths = whole("How often its process died.")
    worker = text("Who holds it, or held it last.", allow_none=True)
    created_at = moment("When the model was asked.")
    started_at = moment("When the last attempt began.", allow_none=True)
    finished_at = moment("When it ended.", allow_none=True)
    error = trouble("Why it failed, or what delayed it.")

    @pre_dump
    def _flatten(self, answer: ModelAnswer, **_: Any) -> dict[str, Any]:
        given = answer.prediction
        said = {"scores": {}, "prediction_set": [], "flags": []} if given is None else vars(given)
        silent = dict.fromkeys(("label", "confidence", "engine", "waited_ms", "decode_ms", "infer_ms"))
        where = None
        if given is not None and given.activation is not None:
            where = url_for("images.get_activation", radiograph_id=answer.radiograph_id, model=answer.model)
        return {**silent, **said, **vars(answer), "activation": where}


class Arrival(Answer):
    """One time that a radiograph came in."""

    id = whole("Its number.", attribute="arrival_id")
    submission = whole("In which submission.", attribute="submission_id")
    source = source()
    name = text("As given then.")
    received_at = moment("When.")


class Review(Answer):
    """What one person said of a radiograph once. A change is another review; the newest of a reading stands."""

    id = whole("Its number.")
    radiograph_id = whole("Of which radiograph.")
    reading = whole("1: with the model's answer in view; 2: by somebody else, without.")
    reviewer = text("Who.")
    kind = fields.Enum(
        ReviewKind,
        by_value=True,
        required=True,
        allow_none=True,
        metadata={"description": "Withdrawn: the one before does not stand. Null where it is hidden."},
    )
    label = text("What was said; null where nothing was.", allow_none=True)
    note = text("In the reader's own words.")
    model = text("NAME/VERSION whose answer was shown; null where none was.", allow_none=True)
    shown = text("The label that was shown.", allow_none=True)
    hidden = truth("Whether what was said is kept from you, who may still have to read this radiograph second.")
    created_at = moment("When.")


class LookAlike(Answer):
    """Another radiograph that shows the same picture. Nothing is merged: each has answers of its own."""

    id = whole("Its number.")
    name = text("Of its first arrival.")
    difference = text("What differs, in words: another size, crop or format, or other bytes.")
    distance = whole("Of the perceptual hashes, in bits of 64.")
    likeness = number("How well the detail agrees once the two lie on each other, 1.2 to 2.")
    url = Address("api.get_one", "The whole of it.", radiograph_id="id")


class AboutPicture(Answer):
    """What a DICOM header says of the picture; nothing of the patient."""

    modality = text("CR, DX, RF, MG, XA, or SC for a secondary capture.")
    body_part = text("As the header says it.", allow_none=True)
    laterality = text("L, R, B or U.", allow_none=True)
    view = text("As AP, PA or LL.", allow_none=True)
    spacing_mm = fields.List(
        fields.Float(), required=True, allow_none=True, metadata={"description": "Between rows, between columns."}
    )
    calibrated = truth("Whether the spacing holds in the patient; else at the detector, where things are larger.")
    burned_in = text("Whether text in the picture may name the patient: yes, perhaps.", allow_none=True)


class Radiograph(Listed):
    """One radiograph with every model's answer and every arrival."""

    image = Address("images.get_image", "Its picture as PNG.", radiograph_id="id")
    media_type = text("Of the file.")
    width = whole("In pixels, before any EXIF rotation.")
    height = whole("Likewise.")
    bit_depth = whole("Bits a channel.")
    bytes = whole("Size of the file.")
    original_deleted_at = moment("When its original was deleted; null: it is there.", allow_none=True)
    about = fields.Nested(AboutPicture, required=True, allow_none=True)
    models = fields.List(fields.Nested(AnswerOfModel), required=True)
    arrivals = fields.List(fields.Nested(Arrival), required=True)
    reviews = fields.List(fields.Nested(Review), required=True)
    looks_like = fields.List(
        fields.Nested(LookAlike), required=True, metadata={"description": "The same picture in another file."}
    )


class Retried(Answer):
    """What was sent back to the queue."""

    id = whole("The radiograph's number.")
    jobs = fields.List(fields.Integer(), required=True, metadata={"description": "The numbers of the jobs."})
    url = Address("api.get_one", "Where the answers will be.", radiograph_id="id")


class Asked(Answer):
    """The job of one model for one radiograph."""

    id = whole("The radiograph's number.")
    model = text("NAME/VERSION.")
    job = whole("The number of its job.")
    status = status("Where the job stands.")
    new = truth("Whether it was made now; false: the model had been asked before.")
    url = Address("api.get_one", "Where the answer will be.", radiograph_id="id")


class Model(Answer):
    """A model version with its card."""

    model = text("NAME/VERSION.")
    name = text("Its name.")
    version = text("Its version.")
    task = text("The question that it answers.")
    card_sha256 = text("The identity of the bundle.")
    installed = truth("Whether its bundle was there when last looked for.")
    active = truth("Whether new radiographs are classified by it.")
    labels = texts("What it may answer.")
    card = fields.Dict(required=True, metadata={"description": "The whole card."})


class Models(Answer):
    """All model versions."""

    models = fields.List(fields.Nested(Model), required=True)
