"""The API's answers. Keys are a contract: they are added to, never renamed.

Each schema writes the records of `core` and describes itself in the API's document.
"""

from __future__ import annotations

from typing import Any

from flask import url_for
from marshmallow import RAISE, Schema, fields, pre_dump

from core.records.details import ModelAnswer
from core.records.figures import QueueFigures
from core.states import WorkerState
from core.tables import ArrivalStatus, JobStatus, ReviewKind, Source


class _Answer(Schema):
    class Meta:
        """An answer has these keys and no others."""

        unknown = RAISE
        description = ""

    def __init_subclass__(cls) -> None:
        """Let the docstring describe the shape in the document."""
        super().__init_subclass__()
        cls.Meta = type("Meta", (cls.Meta,), {"description": cls.__doc__})  # type: ignore[assignment, misc]


class Address(fields.String):
    """The address of a route, filled in from the record's attributes."""

    _CHECK_ATTRIBUTE = False

    def __init__(self, endpoint: str, description: str, **values: str) -> None:
        super().__init__(required=True, metadata={"description": description})
        self._endpoint, self._values = endpoint, values

    def _serialize(self, value: Any, attr: Any, obj: Any, **kwargs: Any) -> str:  # noqa: ARG002
        values = {
            name: obj[attribute] if isinstance(obj, dict) else getattr(obj, attribute)
            for name, attribute in self._values.items()
        }
        return url_for(self._endpoint, **values)


def _text(description: str, **more: Any) -> fields.String:
    return fields.String(required=True, metadata={"description": description}, **more)


def _number(description: str, **more: Any) -> fields.Float:
    return fields.Float(required=True, metadata={"description": description}, **more)


def _whole(description: str, **more: Any) -> fields.Integer:
    return fields.Integer(required=True, metadata={"description": description}, **more)


def _moment(description: str, **more: Any) -> fields.DateTime:
    return fields.DateTime(required=True, metadata={"description": description}, **more)


def _truth(description: str) -> fields.Boolean:
    return fields.Boolean(required=True, metadata={"description": description})


def _texts(description: str) -> fields.List[str]:
    return fields.List(fields.String(), required=True, metadata={"description": description})


def _scores(description: str) -> fields.Dict:
    return fields.Dict(fields.String(), fields.Float(), required=True, metadata={"description": description})


def _status(description: str, **more: Any) -> fields.Enum[Any]:
    return fields.Enum(JobStatus, by_value=True, required=True, metadata={"description": description}, **more)


def _source() -> fields.Enum[Any]:
    return fields.Enum(Source, by_value=True, required=True, metadata={"description": "Which door it came through."})


class Trouble(_Answer):
    """Why something failed or was refused."""

    code = _text("For programs.")
    words = _text("For people.")


def _trouble(description: str) -> fields.Nested:
    return fields.Nested(Trouble, required=True, allow_none=True, metadata={"description": description})


class FractureAnswer(_Answer):
    """What the binary model says of a radiograph."""

    probability = _number("Of a fracture, 0 to 1, calibrated.")
    label = _text("The model's label at its threshold.")
    model = _text("NAME/VERSION.")
    flags = _texts("Why a person should look.")


def _fracture() -> fields.Nested:
    words = "What the binary model says; null where it has not answered."
    return fields.Nested(FractureAnswer, required=True, allow_none=True, metadata={"description": words})


class ResultInSubmission(_Answer):
    """A radiograph of a submitted file and its answer."""

    id = _whole("The radiograph's number.")
    status = _status("Of the job of the model asked for; null where it was never asked.", allow_none=True)
    label = _text("The answer.", allow_none=True)
    confidence = _number("Calibrated probability of the label, 0 to 1.", allow_none=True)
    flags = _texts("Why a person should look.")
    model = _text("NAME/VERSION of the model that answered or will.", allow_none=True)
    error = _trouble("Why it failed.")
    unfinished = _truth("Whether some model still has to answer.")
    fracture = _fracture()
    page = Address("radiograph.radiograph_page", "Its page, for people.", radiograph_id="id")
    image = Address("images.get_image", "Its picture as PNG.", radiograph_id="id")


class SubmittedFile(_Answer):
    """One file of a submission."""

    arrival = _whole("The number of this arrival.", attribute="arrival_id")
    name = _text("As given, control characters replaced.")
    status = fields.Enum(
        ArrivalStatus, by_value=True, required=True, metadata={"description": "What the door said of the file."}
    )
    duplicate = _truth("Whether the same bytes were here before.")
    radiographs = fields.List(
        fields.Integer(), required=True, metadata={"description": "The numbers of its radiographs; one a page."}
    )
    urls = _texts("The addresses of its radiographs.")
    error = _trouble("Why it was refused.")
    results = fields.List(fields.Nested(ResultInSubmission), required=True)

    @pre_dump
    def _list_radiographs(self, file: Any, **_: Any) -> dict[str, Any]:
        numbers = [result.id for result in file.results]
        urls = [url_for("api.get_one", radiograph_id=number) for number in numbers]
        return {**vars(file), "radiographs": numbers, "urls": urls}


class FileCounts(_Answer):
    """How many files of a submission stand where, by the least finished of a file's jobs."""

    waiting = _whole("In the queue.")
    running = _whole("Being classified.")
    done = _whole("Classified.")
    failed = _whole("Ended with a stated failure.")
    quarantined = _whole("Set aside after three deaths of their workers.")
    cancelled = _whole("Taken back by a person.")
    rejected = _whole("Refused at the door.")


class ListedSubmission(_Answer):
    """One line of the list of submissions."""

    submission = _whole("Its number.", attribute="id")
    name = _text("Given by a person; may be empty.")
    source = _source()
    created_at = _moment("When it came in.")
    files = _whole("How many files it has.")
    url = Address("api.get_submission", "The whole of it.", submission_id="id")
    page = Address("upload.submission_page", "Its page, for people.", submission_id="id")


class Submissions(_Answer):
    """A page of submissions, newest first."""

    submissions = fields.List(fields.Nested(ListedSubmission), required=True)
    next = _text("The address of the following page; null on the last.", allow_none=True)


class Submission(_Answer):
    """One upload, drop or command, and where each of its files stands."""

    submission = _whole("Its number.", attribute="id")
    name = _text("Given by a person; may be empty.")
    source = _source()
    created_at = _moment("When it came in.")
    url = Address("api.get_submission", "This document.", submission_id="id")
    page = Address("upload.submission_page", "Its page, for people.", submission_id="id")
    unfinished = _whole("How many of its files still wait for an answer.")
    counts = fields.Nested(FileCounts, required=True, metadata={"description": "How many of its files stand where."})
    seconds_left = _number(
        "An estimate of when its last file is finished, coarse; 0: it is; null: nobody can know.", allow_none=True
    )
    files = fields.List(fields.Nested(SubmittedFile), required=True)
    next = _text("The address of the files after these; null on the last page.", allow_none=True)

    @pre_dump
    def _flatten(self, told: dict[str, Any], **_: Any) -> dict[str, Any]:
        state, following = told["state"], None
        if state.following is not None:
            following = url_for("api.get_submission", submission_id=state.id, after=state.following)
        counts = {"counts": state.counts.document(), "unfinished": state.unfinished, "next": following}
        return {**vars(state), **counts, "seconds_left": told["seconds_left"]}


class Listed(_Answer):
    """A radiograph and the newest answer of the model asked for."""

    id = _whole("The radiograph's number.")
    sha256 = _text("Of the content as it came.")
    frame = _whole("The page of a file with several, from 0.")
    name = _text("Of its first arrival.")
    source = _source()
    status = _status("Of the model's job; null where it was never asked.", allow_none=True)
    label = _text("The answer. Research and education only, never a diagnosis.", allow_none=True)
    confidence = _number("Calibrated probability of the label, 0 to 1.", allow_none=True)
    scores = _scores("Every label to its probability, the most probable first.")
    prediction_set = _texts("The labels that cannot be ruled out at the card's coverage.")
    flags = _texts("Why a person should look.")
    model = _text("NAME/VERSION.", allow_none=True)
    received_at = _moment("Of its first arrival.")
    finished_at = _moment("When the job ended.", allow_none=True)
    error = _trouble("Why it failed.")
    original_deleted = _truth("Whether its original was deleted; then there is no picture.")
    patient_key = _text("Of DICOM: a keyed hash, the same for all files of a patient.", allow_none=True)
    unfinished = _truth("Whether some model still has to answer.")
    fracture = _fracture()
    url = Address("api.get_one", "The whole of it.", radiograph_id="id")


class Page(_Answer):
    """A page of results, newest first."""

    radiographs = fields.List(fields.Nested(Listed), required=True)
    next = _text("The address of the following page; null on the last.", allow_none=True)


class AnswerOfModel(_Answer):
    """What one model version was asked about a radiograph, and what came of it."""

    model = _text("NAME/VERSION.")
    task = _text("The question that it answers.")
    card_sha256 = _text("The identity of the bundle.")
    active = _truth("Whether new radiographs are classified by it.")
    status = _status("Where its job stands.")
    label = _text("The answer.", allow_none=True)
    confidence = _number("Calibrated probability of the label, 0 to 1.", allow_none=True)
    scores = _scores("Every label to its probability, the most probable first.")
    prediction_set = _texts("The labels that cannot be ruled out at the card's coverage.")
    flags = _texts("Why a person should look.")
    engine = _text("What ran the network.", allow_none=True)
    waited_ms = _number("From the job's creation to the start of the attempt that answered.", allow_none=True)
    decode_ms = _number("Reading, decoding and resizing.", allow_none=True)
    infer_ms = _number("This radiograph's share of the batch.", allow_none=True)
    activation = _text("Where its activation map is, a transparent PNG; null where there is none.", allow_none=True)
    attempts = _whole("How often it was begun.")
    deaths = _whole("How often its process died.")
    worker = _text("Who holds it, or held it last.", allow_none=True)
    created_at = _moment("When the model was asked.")
    started_at = _moment("When the last attempt began.", allow_none=True)
    finished_at = _moment("When it ended.", allow_none=True)
    error = _trouble("Why it failed, or what delayed it.")

    @pre_dump
    def _flatten(self, answer: ModelAnswer, **_: Any) -> dict[str, Any]:
        given = answer.prediction
        said = {"scores": {}, "prediction_set": [], "flags": []} if given is None else vars(given)
        silent = dict.fromkeys(("label", "confidence", "engine", "waited_ms", "decode_ms", "infer_ms"))
        where = None
        if given is not None and given.activation is not None:
            where = url_for("images.get_activation", radiograph_id=answer.radiograph_id, model=answer.model)
        return {**silent, **said, **vars(answer), "activation": where}


class Arrival(_Answer):
    """One time that a radiograph came in."""

    id = _whole("Its number.", attribute="arrival_id")
    submission = _whole("In which submission.", attribute="submission_id")
    source = _source()
    name = _text("As given then.")
    received_at = _moment("When.")


class Review(_Answer):
    """What one person said of a radiograph once. A change is another review; the newest of a reading stands."""

    id = _whole("Its number.")
    radiograph_id = _whole("Of which radiograph.")
    reading = _whole("1: with the model's answer in view; 2: by somebody else, without.")
    reviewer = _text("Who.")
    kind = fields.Enum(
        ReviewKind,
        by_value=True,
        required=True,
        allow_none=True,
        metadata={"description": "Withdrawn: the one before does not stand. Null where it is hidden."},
    )
    label = _text("What was said; null where nothing was.", allow_none=True)
    note = _text("In the reader's own words.")
    model = _text("NAME/VERSION whose answer was shown; null where none was.", allow_none=True)
    shown = _text("The label that was shown.", allow_none=True)
    hidden = _truth("Whether what was said is kept from you, who may still have to read this radiograph second.")
    created_at = _moment("When.")


class LookAlike(_Answer):
    """Another radiograph that shows the same picture. Nothing is merged: each has answers of its own."""

    id = _whole("Its number.")
    name = _text("Of its first arrival.")
    difference = _text("What differs, in words: another size, crop or format, or other bytes.")
    distance = _whole("Of the perceptual hashes, in bits of 64.")
    likeness = _number("How well the detail agrees once the two lie on each other, 1.2 to 2.")
    url = Address("api.get_one", "The whole of it.", radiograph_id="id")


class AboutPicture(_Answer):
    """What a DICOM header says of the picture; nothing of the patient."""

    modality = _text("CR, DX, RF, MG, XA, or SC for a secondary capture.")
    body_part = _text("As the header says it.", allow_none=True)
    laterality = _text("L, R, B or U.", allow_none=True)
    view = _text("As AP, PA or LL.", allow_none=True)
    spacing_mm = fields.List(
        fields.Float(), required=True, allow_none=True, metadata={"description": "Between rows, between columns."}
    )
    calibrated = _truth("Whether the spacing holds in the patient; else at the detector, where things are larger.")
    burned_in = _text("Whether text in the picture may name the patient: yes, perhaps.", allow_none=True)


class Radiograph(Listed):
    """One radiograph with every model's answer and every arrival."""

    image = Address("images.get_image", "Its picture as PNG.", radiograph_id="id")
    media_type = _text("Of the file.")
    width = _whole("In pixels, before any EXIF rotation.")
    height = _whole("Likewise.")
    bit_depth = _whole("Bits a channel.")
    bytes = _whole("Size of the file.")
    original_deleted_at = _moment("When its original was deleted; null: it is there.", allow_none=True)
    about = fields.Nested(AboutPicture, required=True, allow_none=True)
    models = fields.List(fields.Nested(AnswerOfModel), required=True)
    arrivals = fields.List(fields.Nested(Arrival), required=True)
    reviews = fields.List(fields.Nested(Review), required=True)
    looks_like = fields.List(
        fields.Nested(LookAlike), required=True, metadata={"description": "The same picture in another file."}
    )


class Retried(_Answer):
    """What was sent back to the queue."""

    id = _whole("The radiograph's number.")
    jobs = fields.List(fields.Integer(), required=True, metadata={"description": "The numbers of the jobs."})
    url = Address("api.get_one", "Where the answers will be.", radiograph_id="id")


class Asked(_Answer):
    """The job of one model for one radiograph."""

    id = _whole("The radiograph's number.")
    model = _text("NAME/VERSION.")
    job = _whole("The number of its job.")
    status = _status("Where the job stands.")
    new = _truth("Whether it was made now; false: the model had been asked before.")
    url = Address("api.get_one", "Where the answer will be.", radiograph_id="id")


class Model(_Answer):
    """A model version with its card."""

    model = _text("NAME/VERSION.")
    name = _text("Its name.")
    version = _text("Its version.")
    task = _text("The question that it answers.")
    card_sha256 = _text("The identity of the bundle.")
    installed = _truth("Whether its bundle was there when last looked for.")
    active = _truth("Whether new radiographs are classified by it.")
    labels = _texts("What it may answer.")
    card = fields.Dict(required=True, metadata={"description": "The whole card."})


class Models(_Answer):
    """All model versions."""

    models = fields.List(fields.Nested(Model), required=True)


def _state() -> fields.Enum[Any]:
    words = "busy, idle, wedged (there, and gets nothing done), dead, or unknown (silent, and nobody can tell why)."
    return fields.Enum(WorkerState, by_value=True, required=True, metadata={"description": words})


class Worker(_Answer):
    """A process that classifies and has not signed off."""

    name = _text("role@host:process.")
    host = _text("Its machine.")
    engine = _text("What runs its networks; empty before its first job.")
    model = _text("NAME/VERSION of the network that it used last.", allow_none=True)
    holds = _whole("Jobs in hand.")
    held_since = _moment("Since when.", allow_none=True)
    held_seconds = _number("For how long, by the database's clock.", allow_none=True)
    seen_seconds_ago = _number("How long ago it was heard of.")
    memory_bytes = _whole("Its memory.")
    main = _text("The main process that hands it work.", allow_none=True)
    state = _state()
    words = _text("Why, where that is not plain; else empty.")
    paused = _truth("Whether it takes no more work.")


class MainProcess(_Answer):
    """A worker's main process, which takes bells from the broker and starts the processes that classify."""

    name = _text("main@host:process.")
    host = _text("Its machine.")
    seen_seconds_ago = _number("How long ago it was heard of.")
    memory_bytes = _whole("Its memory.")
    connected = _truth("To the broker, when last heard of.")
    prefetched = _whole("Bells that it took and nobody has begun.")
    state = _state()
    words = _text("Why, where that is not plain; else empty.")
    paused = _truth("Whether its processes take no more work.")


class Spread(_Answer):
    """Seconds that half of the jobs stayed below, and 95 of a hundred."""

    p50 = _number("Half.")
    p95 = _number("95 of a hundred.")


class Rates(_Answer):
    """Jobs done a second."""

    minute = _number("Over the last minute.")
    five_minutes = _number("Over the last five.")
    hour = _number("Over the last hour.")


class Broker(_Answer):
    """What the broker holds. A bell says that there is work; one may stand for many jobs."""

    answers = fields.Boolean(required=True, allow_none=True, metadata={"description": "Null: nobody has looked yet."})
    announced = _whole("Bells that nobody has taken.", allow_none=True)
    prefetched = _whole("Bells taken that nobody has begun.")
    unacknowledged = _whole("Bells that would be given again; null where the broker does not say.", allow_none=True)
    agrees = _truth("Whether this fits what the database says.")
    words = _text("The difference, or that there is none.")


class Paused(_Answer):
    """A pause in force."""

    target = _text("intake or workers.")
    host = _text("Of workers: only those of this machine; null: all.", allow_none=True)
    since = _moment("Since when.")
    by = _text("Who paused it.", attribute="actor")
    words = fields.Function(
        lambda found: found.words(), required=True, metadata={"type": "string", "description": "A sentence."}
    )


class Failures(_Answer):
    """Jobs in trouble for one cause."""

    code = _text("The cause, for programs.")
    count = _whole("All of them; each status is counted up to 10,000.")
    failed = _whole("Those that ended.")
    pausing = _whole("Those that wait and are tried again by themselves.")
    passing = _truth("Whether such a cause goes away by itself.")
    words = _text("What one of them says.")
    examples = fields.List(fields.Integer(), required=True, metadata={"description": "Some radiographs."})
    next_try = _moment("Of those that wait.", allow_none=True)


class Queue(_Answer):
    """What waits, runs and has ended."""

    waiting = _whole("Jobs that nobody has begun.")
    running = _whole("Jobs in hand.")
    done = _whole("Jobs with an answer.")
    failed = _whole("Jobs that ended with a stated failure.")
    quarantined = _whole("Jobs set aside after three deaths of their workers.")
    cancelled = _whole("Jobs that a person took back.")
    rejected = _whole("Files that were refused at the door.")
    oldest_waiting_seconds = _number("How long the oldest job has waited.", allow_none=True)
    images_per_second = _number("Jobs done in the last minute, a second.")
    rates = fields.Nested(Rates, required=True)
    seconds_to_finish = _number("Until nothing is unfinished, as work goes now; null: unknown.", allow_none=True)
    waited = fields.Nested(
        Spread,
        required=True,
        allow_none=True,
        attribute="pace.waited",
        metadata={"description": "From a job's creation to the attempt that answered; null: none was done lately."},
    )
    ran = fields.Nested(
        Spread,
        required=True,
        allow_none=True,
        attribute="pace.ran",
        metadata={"description": "From then to the stored answer; likewise."},
    )
    broker = fields.Nested(Broker, required=True)
    paused = fields.List(fields.Nested(Paused), required=True, attribute="pauses")
    failures = fields.List(fields.Nested(Failures), required=True, attribute="causes")
    mains = fields.List(fields.Nested(MainProcess), required=True)
    workers = fields.List(fields.Nested(Worker), required=True)

    @pre_dump
    def _flatten(self, figures: QueueFigures, **_: Any) -> dict[str, Any]:
        return {**{status.value: count for status, count in figures.counts.items()}, **vars(figures)}


class Stretch(_Answer):
    """What a stretch of time brought."""

    begin = _moment("Its beginning.")
    done = _whole("Jobs that got an answer.")
    failed = _whole("Jobs that failed or were set aside.")
    known = _truth("Whether anybody looked then; the clock or all workers may have been stopped.")


class QueueHistory(_Answer):
    """What the last hours brought, oldest first."""

    seconds_a_stretch = _whole("The length of a stretch.")
    stretches = fields.List(fields.Nested(Stretch), required=True)


class Changed(_Answer):
    """What an order changed."""

    jobs = _whole("So many jobs.")


class PauseChanged(_Answer):
    """What pausing or resuming changed."""

    changed = _truth("Whether it was otherwise before.")
    paused = fields.List(fields.Nested(Paused), required=True, metadata={"description": "All pauses in force now."})


class Worklist(_Answer):
    """What is to be reviewed next, in this order."""

    radiographs = fields.List(fields.Nested(Listed), required=True)


class Share(_Answer):
    """A share of some."""

    right = _whole("So many of them.")
    all = _whole("All of them.")
    share = _number("The share, 0 to 1; null of none.", allow_none=True)
    interval = fields.List(
        fields.Float(), required=True, allow_none=True, metadata={"description": "Its 95 % interval (Wilson)."}
    )


class Confusion(_Answer):
    """How often readers said one thing and the model another, or the same."""

    said = _text("By the reader.")
    answered = _text("By the model.")
    radiographs = _whole("How many.")


class ReviewedModel(_Answer):
    """One active model on the radiographs that were reviewed. They are chosen by doubt, not at random."""

    model = _text("NAME/VERSION.")
    accuracy = fields.Nested(Share, required=True)
    per_label = fields.Dict(fields.String(), fields.Nested(Share), required=True, metadata={"description": "By truth."})
    per_source = fields.Dict(fields.String(), fields.Nested(Share), required=True, metadata={"description": "By door."})
    confusion = fields.List(fields.Nested(Confusion), required=True)


class Readers(_Answer):
    """First against second readings of the same radiographs."""

    pairs = _whole("Radiographs that were read twice.")
    agreed = _whole("Those read alike.")
    kappa = _number("Cohen's kappa; null where it is undefined.", allow_none=True)


class ReviewFigures(_Answer):
    """How far models and readers agree."""

    models = fields.List(fields.Nested(ReviewedModel), required=True)
    readers = fields.Nested(Readers, required=True)
    discrepancies = fields.List(
        fields.Integer(),
        required=True,
        metadata={"description": "Radiographs on which two readers differ (at most 200)."},
    )


class Health(_Answer):
    """That the process lives."""

    status = _text("ok")


class DriftReference(_Answer):
    """The figures that a model's card gives."""

    split = _text("Which split they were counted on.")
    images = fields.Integer(required=True, metadata={"description": "How many images it has."})


class DriftFigure(_Answer):
    """One figure of one week."""

    name = _text("What was counted.")
    count = fields.Integer(required=True, metadata={"description": "What it was counted among."})
    value = fields.Float(required=True, allow_none=True, metadata={"description": "0 to 1; null: nothing to count."})
    expected = fields.Float(required=True, allow_none=True, metadata={"description": "The card's; null: it has none."})
    low = fields.Float(required=True, metadata={"description": "Lower end of what the card lets expect."})
    high = fields.Float(required=True, metadata={"description": "Upper end."})
    outside = fields.Boolean(required=True, metadata={"description": "Whether it is outside; few are never judged."})


class DriftWeek(_Answer):
    """One week of one model."""

    week = fields.Date(required=True, metadata={"description": "Its Monday (UTC)."})
    answers = fields.Integer(required=True, metadata={"description": "Stored answers."})
    figures = fields.List(fields.Nested(DriftFigure), required=True)


class ModelDrift(_Answer):
    """One active model's weeks beside its card."""

    model = _text("NAME/VERSION.")
    reference = fields.Nested(DriftReference, required=True, allow_none=True)
    sentences = _texts("What of the last week is outside, a sentence each.")
    weeks = fields.List(fields.Nested(DriftWeek), required=True)


class Drift(_Answer):
    """Whether models still answer as they did when they were judged."""

    models = fields.List(fields.Nested(ModelDrift), required=True)


class Readiness(_Answer):
    """Whether it can do its work."""

    status = _text("ready or unavailable")
    checks = fields.Dict(fields.String(), fields.Boolean(), required=True, metadata={"description": "Check to passed."})
    reasons = _texts("A sentence for each check that failed.")
