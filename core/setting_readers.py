"""How a setting's text becomes its value. Each raises ValueError with the words that follow the variable's name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

#: What Celery speaks to; the last three are not tried here (docs/scaling.md).
_BROKERS = ("redis", "rediss", "redis+socket", "sentinel", "amqp", "amqps")


def flag(text: str) -> bool:
    """Read 1 or 0, and words for them."""
    words = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    if text.strip().lower() not in words:
        raise ValueError("is neither 1 nor 0")
    return words[text.strip().lower()]


def whole(minimum: int, maximum: int | None = None) -> Callable[[str], int]:
    """Return what reads a whole number within bounds."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise ValueError("is not a whole number") from None
        if number < minimum or (maximum is not None and number > maximum):
            raise ValueError(f"is not between {minimum} and {maximum}" if maximum else f"is below {minimum}")
        return number

    return read


def seconds(text: str) -> float:
    """Read a duration: 0.01 seconds to a week."""
    try:
        number = float(text)
    except ValueError:
        raise ValueError("is not a number of seconds") from None
    if not 0.01 <= number <= 7 * 24 * 3600:
        raise ValueError("is not between 0.01 seconds and a week")
    return number


def one_of(*words: str) -> Callable[[str], str]:
    """Return what reads one of some words."""

    def read(text: str) -> str:
        if text not in words:
            raise ValueError(f"is none of {', '.join(words)}")
        return text

    return read


def absolute_path(text: str) -> Path:
    """Read a path; a relative one is taken from where the program was started."""
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError:
        raise ValueError("names the home folder of a user that does not exist") from None


def broker_url(text: str) -> str:
    """Read a broker's address."""
    scheme, found, _ = text.partition("://")
    if not found or scheme not in _BROKERS:
        raise ValueError("is no address of a broker; write redis://HOST:6379/0 or, with TLS, rediss://HOST:6379/0")
    return text
