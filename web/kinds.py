"""Kinds of parameters: each reads what came and refuses it in words that go on from the parameter's name."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from marshmallow import ValidationError, fields

from core.records.candidates import Mark
from core.tables import JobStatus, Source
from web.identifiers import LARGEST

_LONGEST_TEXT = 1024
LONGEST_NOTE = 4000
_NO_CONTROLS = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$"
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


def _number(text: str, minimum: float, maximum: float) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not minimum <= number <= maximum:  # no number is within limits if it is none
        raise ValidationError(f"is not a number from {minimum:g} to {maximum:g}")
    return number
