"""What a request may ask: the parameters as marshmallow schemas, which also are what the API's document says of them.

A parameter that cannot be used is refused in a sentence that names it. An empty one does not count, so that forms work.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NoReturn

from marshmallow import EXCLUDE, RAISE, Schema, ValidationError, fields
from webargs.flaskparser import FlaskParser
from werkzeug.datastructures import MultiDict

from core.plausibility import WORDS
from core.records.candidates import Mark
from core.records.filters import Filters, Order
from core.tables import JobStatus, Source
from web.identifiers import LARGEST
from web.problems import BadParameter

DEFAULT_LIMIT, LARGEST_LIMIT = 50, 500
#: Of a submission's files: as many as one upload has.
LARGEST_FILE_LIMIT = 1000
_LONGEST_TEXT = 1024
LONGEST_NOTE = 4000
_NO_CONTROLS = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$"
_SMALLEST_SIDE, _LARGEST_SIDE = 16, 8192


#: A confidence with all its digits, and a radiograph's number.
_PLACE = "^[01](\\.[0-9]{1,20})?(e-[0-9]{1,2})?,[0-9]{1,18}$"


class Words(fields.String):
    """Text without control characters, which no name or label has; PostgreSQL refuses the null character."""

    def __init__(self, description: str, longest: int = _LONGEST_TEXT, *, required: bool = False) -> None:
        about = {"description": description, "maxLength": longest, "pattern": _NO_CONTROLS}
        super().__init__(required=required, metadata=about)
        self._longest = longest

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> str:
        if not isinstance(value, str):
            raise ValidationError("is no text")
        if any(unicodedata.category(character) in ("Cc", "Cs") for character in value):
            raise ValidationError("has control characters")
        if len(value) > self._longest:
            raise ValidationError(f"is longer than {self._longest} characters")
        return str(value)


class Note(fields.String):
    """A person's own words; they may have several lines."""

    def __init__(self, description: str, longest: int = LONGEST_NOTE) -> None:
        super().__init__(metadata={"description": description, "maxLength": longest})
        self._longest = longest

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> str:
        text = str(value).replace("\r\n", "\n").replace("\r", "\n")
        if len(text) > self._longest:
            raise ValidationError(f"is longer than {self._longest} characters")
        if any(unicodedata.category(character) in ("Cc", "Cs") for character in text if character not in "\n\t"):
            raise ValidationError("has control characters")
        return text


class Choice(fields.String):
    """One of a few words."""

    def __init__(self, words: Sequence[str], description: str, *, required: bool = False) -> None:
        super().__init__(required=required, metadata={"description": description, "enum": list(words)})
        self._words = words

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> str:
        if value not in self._words:
            raise ValidationError(f"is none of {', '.join(self._words)}")
        return str(value)


class Whole(fields.Integer):
    """A whole number within limits."""

    def __init__(self, description: str, smallest: int, largest: int = LARGEST, **more: Any) -> None:
        super().__init__(metadata={"description": description, "minimum": smallest, "maximum": largest, **more})
        self._smallest, self._largest = smallest, largest

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> int:
        # `int` also reads other scripts' digits, underscores, and thousands of digits.
        if not re.fullmatch(r"[0-9]{1,19}", value) or not self._smallest <= int(value) <= self._largest:
            raise ValidationError(f"is not a whole number from {self._smallest} to {self._largest}")
        return int(value)


class Number(fields.Integer):
    """A whole number within limits that has to be given; it may be below nought, and JSON or a form's text."""

    def __init__(self, description: str, smallest: int, largest: int) -> None:
        super().__init__(required=True, metadata={"description": description, "minimum": smallest, "maximum": largest})
        self._smallest, self._largest = smallest, largest

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> int:
        text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
        if not isinstance(text, str) or not re.fullmatch(r"-?[0-9]{1,9}", text, re.ASCII):
            raise ValidationError(f"is not a whole number from {self._smallest} to {self._largest}")
        if not self._smallest <= int(text) <= self._largest:
            raise ValidationError(f"is not a whole number from {self._smallest} to {self._largest}")
        return int(text)


class Share(fields.Float):
    """A number from 0 to 1."""

    def __init__(self, description: str) -> None:
        super().__init__(metadata={"description": description, "minimum": 0, "maximum": 1})

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> float:
        return _number(value, 0, 1)


class Moment(fields.DateTime):
    """A time; read as UTC unless it says otherwise."""

    def __init__(self, description: str) -> None:
        # Not `date-time` alone: a date does as well.
        words = f"{description} A date or a time such as 2026-01-31T08:00:00Z; without a zone it is read as UTC."
        super().__init__(metadata={"description": words})

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> datetime:
        try:
            # A plus sign that was not escaped arrives as a blank.
            at = datetime.fromisoformat(value.replace(" ", "+") if "T" in value else value)
            return (at.replace(tzinfo=UTC) if at.tzinfo is None else at).astimezone(UTC)
        except (ValueError, OverflowError):
            raise ValidationError("is no time such as 2026-01-31 or 2026-01-31T08:00:00Z (read as UTC)") from None


class Sha256(fields.String):
    """The sha256 of a file's content."""

    def __init__(self, description: str) -> None:
        super().__init__(metadata={"description": description, "pattern": "^[0-9a-fA-F]{64}$"})

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> str:
        if not re.fullmatch(r"[0-9a-fA-F]{64}", value):
            raise ValidationError("is no sha256 (64 hexadecimal digits)")
        return str(value).lower()


class OneOf(fields.Enum[Any]):
    """One of an enumeration's words."""

    def __init__(self, kind: type[JobStatus] | type[Source], description: str) -> None:
        super().__init__(kind, by_value=True, metadata={"description": description})
        self._kind = kind

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> JobStatus | Source:
        words = [member.value for member in self._kind]
        if value not in words:
            raise ValidationError(f"is none of {', '.join(words)}")
        return self._kind(value)


class YesOrNo(fields.String):
    """A question that can be answered."""

    def __init__(self, description: str) -> None:
        super().__init__(metadata={"description": description, "enum": ["yes", "no"]})

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> Any:
        if value not in ("yes", "no"):
            raise ValidationError("is neither yes nor no")
        return value == "yes"


class Place(fields.String):
    """Where a page in the order of confidence ended."""

    def __init__(self, description: str) -> None:
        super().__init__(metadata={"description": description, "pattern": _PLACE})

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> Any:
        if not re.fullmatch(_PLACE, value):
            raise ValidationError("is no place in this order; take it from `next`")
        confidence, _, number = value.partition(",")
        return Mark(float(confidence), int(number))


class Window(fields.String):
    """Two grey levels, the lower first."""

    def __init__(self, description: str) -> None:
        super().__init__(metadata={"description": description, "pattern": "^[0-9.]+,[0-9.]+$", "examples": ["40,200"]})

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> Any:
        try:
            low, high = (_number(part, 0, 255) for part in value.split(","))
        except ValueError:  # also marshmallow's, about one of the two
            low = high = 0.0
        if low >= high:
            raise ValidationError("is not two numbers from 0 to 255, the lower first, such as 40,200")
        return low, high


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
    for name, given in args.lists():
        if len(given) > 1 and (strict or name in known):
            raise ValidationError({name: [f"is given {len(given)} times; give it once"]})
        if given[0].strip() or (strict and name not in known):
            found[name] = given[0].strip()
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


def _number(text: str, minimum: float, maximum: float) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not minimum <= number <= maximum:  # no number is within limits if it is none
        raise ValidationError(f"is not a number from {minimum:g} to {maximum:g}")
    return number
