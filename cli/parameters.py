"""Types of parameters that several commands share: each refuses in a sentence what would end in an error further in."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import click

_AGO = re.compile(r"(\d+)([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

#: The number of a row. Databases count up to this.
ROW_ID = click.IntRange(1, 2**63 - 1)
#: How many of something; above it nobody meant what was typed.
COUNT = click.IntRange(1, 2**31 - 1)


class Number(click.FloatRange):
    """A number within bounds. Click compares, and so lets "nan" through."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read it."""
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is no number.", param, ctx)
        return number


class Moment(click.ParamType[datetime]):
    """A date, a date and time, or an age like `90m`, `24h`, `7d`; UTC unless a zone is given."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Read it."""
        if isinstance(value, datetime):
            return value
        try:
            if ago := _AGO.fullmatch(str(value)):
                return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
            moment = datetime.fromisoformat(str(value))
            return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
        except ValueError:
            self.fail(f"{value!r} is no time; write 2026-03-01, 2026-03-01T14:30 or an age like 24h.", param, ctx)
        except OverflowError:
            self.fail(f"{value!r} lies before the year 1 or after the year 9999.", param, ctx)
