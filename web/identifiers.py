"""Row numbers in addresses."""

from __future__ import annotations

from werkzeug.routing import BaseConverter, ValidationError

#: Both databases number rows with 64 bits; a larger number would be an error there instead of an absent row.
LARGEST = 2**63 - 1


class IdentifierConverter(BaseConverter):
    """A row's number; anything else is an unknown address (404)."""

    regex = "[0-9]{1,19}"

    def to_python(self, value: str) -> int:
        """Read the number."""
        number = int(value)
        if number > LARGEST:
            raise ValidationError
        return number

    def to_url(self, value: int) -> str:
        """Write the number."""
        return str(int(value))
