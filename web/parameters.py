"""Read the parameters of a request, or say in a sentence which one is wrong."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from werkzeug.datastructures import MultiDict

from core.records.filters import Filters
from core.tables import JobStatus, Source
from web.identifiers import LARGEST
from web.problems import BadParameter

DEFAULT_LIMIT, LARGEST_LIMIT = 50, 500
_LONGEST_TEXT = 1024

_Value = TypeVar("_Value")


def read_filters(args: MultiDict[str, str]) -> Filters:
    """Read which results are wanted; an empty parameter does not filter.

    Raises:
        BadParameter: Names the first that cannot be used.
    """
    return Filters(**{name: _read(args, name, reader) for name, reader in _FILTERS.items()})


def read_whole(args: Mapping[str, str], name: str, minimum: int, maximum: int = LARGEST) -> int | None:
    """Read a whole number within limits; None when it is absent or empty.

    Raises:
        BadParameter: It is none, or outside.
    """
    return _read(args, name, lambda text: _whole(text, minimum, maximum))


def read_window(args: Mapping[str, str]) -> tuple[float, float] | None:
    """Read `window=low,high`: the grey levels, 0 to 255, that become black and white.

    Raises:
        BadParameter: It is no such pair.
    """

    def pair(text: str) -> tuple[float, float]:
        numbers = [_number(part, 0, 255) for part in text.split(",")]
        if len(numbers) != 2 or numbers[0] >= numbers[1]:
            raise ValueError("is not two numbers from 0 to 255, the lower first, such as 40,200")
        return numbers[0], numbers[1]

    return _read(args, "window", pair)


def refuse_unknown(args: Mapping[str, str], *known: str) -> None:
    """Refuse a misspelt parameter: a list that silently was not filtered would mislead a program.

    Raises:
        BadParameter: Names it, and those that exist.
    """
    strange = sorted(set(args) - set(known))
    if strange:
        raise BadParameter(f"There is no parameter {strange[0][:64]!r}; known: {', '.join(known) or 'none'}.")


def _read(args: Mapping[str, str], name: str, reader: Callable[[str], _Value]) -> _Value | None:
    given = args.getlist(name) if isinstance(args, MultiDict) else [args[name]] if name in args else []
    if len(given) > 1:
        raise BadParameter(f"The parameter {name} is given {len(given)} times; give it once.")
    text = given[0].strip() if given else ""
    if not text:
        return None
    try:
        return reader(text)
    except ValueError as error:
        raise BadParameter(f"The parameter {name} {error}.") from error


def _text(text: str) -> str:
    # PostgreSQL refuses the null character, and no name or label has any of the others.
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in text):
        raise ValueError("has control characters")
    if len(text) > _LONGEST_TEXT:
        raise ValueError(f"is longer than {_LONGEST_TEXT} characters")
    return text


def _whole(text: str, minimum: int, maximum: int) -> int:
    # `int` also reads other scripts' digits, underscores, and thousands of digits.
    if not re.fullmatch(r"[0-9]{1,19}", text) or not minimum <= int(text) <= maximum:
        raise ValueError(f"is not a whole number from {minimum} to {maximum}")
    return int(text)


def _number(text: str, minimum: float, maximum: float) -> float:
    words = f"is not a number from {minimum:g} to {maximum:g}"
    try:
        number = float(text)
    except ValueError:
        raise ValueError(words) from None
    if not math.isfinite(number) or not minimum <= number <= maximum:
        raise ValueError(words)
    return number


def _moment(text: str) -> datetime:
    try:
        # A plus sign that was not escaped arrives as a blank.
        at = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
        return (at.replace(tzinfo=UTC) if at.tzinfo is None else at).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("is no time such as 2026-01-31 or 2026-01-31T08:00:00Z (read as UTC)") from None


def _sha256(text: str) -> str:
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raise ValueError("is no sha256 (64 hexadecimal digits)")
    return text.lower()


def _one_of(kind: type[JobStatus] | type[Source]) -> Callable[[str], JobStatus | Source]:
    def read(text: str) -> JobStatus | Source:
        words = [member.value for member in kind]
        if text not in words:
            raise ValueError(f"is none of {', '.join(words)}")
        return kind(text)

    return read


_FILTERS: dict[str, Callable[[str], Any]] = {
    "label": _text,
    "min_confidence": lambda text: _number(text, 0, 1),
    "max_confidence": lambda text: _number(text, 0, 1),
    "status": _one_of(JobStatus),
    "source": _one_of(Source),
    "since": _moment,
    "until": _moment,
    "name": _text,
    "sha256": _sha256,
    "model": _text,
    "submission": lambda text: _whole(text, 1, LARGEST),
}
FILTER_NAMES = tuple(_FILTERS)
