"""What a request may ask: the parameters as marshmallow schemas, which also are what the API's document says of them.

A parameter that cannot be used is refused in a sentence that names it. An empty one does not count, so that forms work.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

from marshmallow import EXCLUDE, RAISE, Schema, ValidationError
from webargs.flaskparser import FlaskParser
from werkzeug.datastructures import MultiDict

from core.plausibility import WORDS
from core.records.filters import Filters, Order
from core.tables import JobStatus, Source
from web.kinds import Choice, Moment, OneOf, Place, Sha256, Share, Whole, Window, Words, YesOrNo
from web.problems import BadParameter

DEFAULT_LIMIT, LARGEST_LIMIT = 50, 500
#: Of a submission's files: as many as one upload has.
LARGEST_FILE_LIMIT = 1000
_SMALLEST_SIDE, _LARGEST_SIDE = 16, 8192


class ModelParameters(Schema):
    """Whose answer is wanted."""

    model = Words("NAME or NAME/VERSION of the model whose answers are shown; without it the active ten-class model.")


class FilterParameters(ModelParameters):
    """Which results are wanted; a parameter that is not given does not filter."""

    label = Words("The answer is this label.")
    min_confidence = Share("The answer's confidence is at least this.")
    max_confidence = Share("The answer's confidence is at most this.")
    status = OneOf(JobStatus, "The job of this model has this status.")
    source = OneOf(Source, "The radiograph first came in through this door.")
    since = Moment("Received at this time or later.")
    until = Moment("Received before this time.")
    name = Words("A name of the radiograph, or of a submission it came in with, contains this, in any case.")
    sha256 = Sha256("The content has this sha256.")
    submission = Whole("The radiograph is in this submission.", 1)
    flag = Words(f"The answer carries this flag: doubtful, unlike-radiographs, {', '.join(WORDS)}.", 64)
    in_set = Words("The answer's prediction set holds this label.", 64)
    reviewed = YesOrNo("Somebody has reviewed the radiograph.")
    agreed = YesOrNo("The review says what the models had said.")


class ListParameters(FilterParameters):
    """A page of results."""

    limit = Whole("Most results on this page.", 1, LARGEST_LIMIT, default=DEFAULT_LIMIT)
    order = Choice(
        [order.value for order in Order],
        "newest if not given; doubt, confidence: those that have an answer, the least sure first or the surest.",
    )
    before_id = Whole("Only radiographs with a smaller number: where the page before ended.", 1)
    after = Place("With another order: where the page before ended.")


class PlaceParameters(Schema):
    """Where a page of a submission's files begins."""

    after = Whole("Only files that came after this arrival: where the page before ended.", 1)


class FilePageParameters(PlaceParameters):
    """A page of a submission's files."""

    limit = Whole("Most files on this page.", 1, LARGEST_FILE_LIMIT, default=LARGEST_FILE_LIMIT)


class SubmissionParameters(Schema):
    """A page of submissions."""

    name = Words("The name contains this, in upper or lower case.")
    limit = Whole("Most submissions on this page.", 1, LARGEST_LIMIT, default=DEFAULT_LIMIT)
    before_id = Whole("Only submissions with a smaller number: where the page before ended.", 1)


class PictureParameters(Schema):
    """How a radiograph is drawn."""

    size = Whole("The longest side in pixels; a picture is never enlarged.", _SMALLEST_SIDE, _LARGEST_SIDE)
    window = Window("The grey levels, 0 to 255, that become black and white, such as 40,200.")


class ActivationParameters(Schema):
    """Whose map is wanted."""

    model = Words("NAME/VERSION of the model.", required=True)


FILTER_NAMES = tuple(FilterParameters().fields)


def read(schema: type[Schema], args: MultiDict[str, str], *, strict: bool = True) -> dict[str, Any]:
    """Read a request's parameters.

    Args:
        schema: What may be asked.
        args: As they came.
        strict: Refuse a parameter that is unknown: a list that silently was not filtered would mislead a program. A
            page's address may carry others.

    Raises:
        BadParameter: Names the first that cannot be used.
    """
    known = schema().fields
    try:
        chosen = _single(args, known, strict=strict)
        return dict(schema(unknown=RAISE if strict else EXCLUDE).load(chosen))
    except ValidationError as error:
        _refuse(error, known)


def filters_of(parameters: Mapping[str, Any]) -> Filters:
    """Return the filters among parameters that were read."""
    return Filters(**{name: parameters[name] for name in FILTER_NAMES if name in parameters})


class QueryParser(FlaskParser):
    """Reads the parameters of API requests in the same way."""

    DEFAULT_UNKNOWN_BY_LOCATION = {**FlaskParser.DEFAULT_UNKNOWN_BY_LOCATION, "query": RAISE}
    DEFAULT_VALIDATION_STATUS = 400

    def load_querystring(self, req: Any, schema: Schema) -> Any:
        """Return the parameters that are given, each once."""
        return _single(req.args, schema.fields, strict=True)

    def load_json(self, req: Any, schema: Schema) -> Any:  # noqa: ARG002
        """Return the body, which has to be JSON and to say so: a form could come from another site's page."""
        if not req.is_json:
            raise BadParameter("Send the body as JSON, with the header Content-Type: application/json.")
        try:
            body = req.get_json(silent=True)
        except RecursionError:  # thousands of brackets: Python's reader gives up, and Flask takes it for our bug
            raise BadParameter("The body is nested too deeply.") from None
        if not isinstance(body, dict):
            raise BadParameter("The body is no JSON object." if body else "The body is no JSON document.")
        return body

    def handle_error(self, error: ValidationError, req: Any, schema: Schema, **_: Any) -> NoReturn:  # noqa: ARG002
        """Say what is wrong as every other part of the application does."""
        messages = next(iter(error.messages.values()))  # type: ignore[union-attr]  # webargs puts the place around it
        _refuse(ValidationError(messages), schema.fields)


def _single(args: MultiDict[str, str], known: Iterable[str], *, strict: bool) -> dict[str, str]:
    """Return what is given, without blanks; what is given twice is refused."""
    found = {}
    # Python takes some control characters for blanks; in a form they come with the lines of a note.
    blanks = " " if strict else None
    for key, given in args.lists():
        name = key or ""  # None: a part of a form that has no name
        if len(given) > 1 and (strict or name in known):
            raise ValidationError({name: [f"is given {len(given)} times; give it once"]})
        value = given[0].strip(blanks)
        if value or (strict and name not in known):
            found[name] = value
    return found


def _refuse(error: ValidationError, known: Iterable[str]) -> NoReturn:
    messages: Mapping[str, Sequence[str]] = error.normalized_messages()  # type: ignore[no-untyped-call]
    name = sorted(messages)[0]
    if name not in known and messages[name] == ["Unknown field."]:
        raise BadParameter(f"There is no parameter {name[:64]!r}; known: {', '.join(known) or 'none'}.") from error
    words = messages[name][0].rstrip(".")
    # Ours go on from the name; marshmallow's own are sentences.
    joined = f"cannot be used: {words}" if words[:1].isupper() else words
    raise BadParameter(f"The parameter {name[:64]} {joined}.") from error
