"""What the shapes of answers are made of: fields that describe themselves, and what several shapes hold."""

from __future__ import annotations

from typing import Any

from flask import url_for
from marshmallow import RAISE, Schema, fields

from core.tables import JobStatus, Source


class Answer(Schema):
    """What each answer is: exactly the keys that it names, described by its docstring."""

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


def text(description: str, **more: Any) -> fields.String:
    """Describe a text."""
    return fields.String(required=True, metadata={"description": description}, **more)


def number(description: str, **more: Any) -> fields.Float:
    """Describe a number."""
    return fields.Float(required=True, metadata={"description": description}, **more)


def whole(description: str, **more: Any) -> fields.Integer:
    """Describe a whole number."""
    return fields.Integer(required=True, metadata={"description": description}, **more)


def moment(description: str, **more: Any) -> fields.DateTime:
    """Describe a point in time (ISO 8601, UTC)."""
    return fields.DateTime(required=True, metadata={"description": description}, **more)


def truth(description: str) -> fields.Boolean:
    """Describe something that is so or not."""
    return fields.Boolean(required=True, metadata={"description": description})


def texts(description: str) -> fields.List[str]:
    """Describe a list of texts."""
    return fields.List(fields.String(), required=True, metadata={"description": description})


def scores(description: str) -> fields.Dict:
    """Describe probabilities by label."""
    return fields.Dict(fields.String(), fields.Float(), required=True, metadata={"description": description})


def status(description: str, **more: Any) -> fields.Enum[Any]:
    """Describe the state of a job."""
    return fields.Enum(JobStatus, by_value=True, required=True, metadata={"description": description}, **more)


def source() -> fields.Enum[Any]:
    """Describe the door that something came through."""
    return fields.Enum(Source, by_value=True, required=True, metadata={"description": "Which door it came through."})


class Trouble(Answer):
    """Why something failed or was refused."""

    code = text("For programs.")
    words = text("For people.")


def trouble(description: str) -> fields.Nested:
    """Describe a failure; null where there is none."""
    return fields.Nested(Trouble, required=True, allow_none=True, metadata={"description": description})


class FractureAnswer(Answer):
    """What the binary model says of a radiograph."""

    probability = number("Of a fracture, 0 to 1, calibrated.")
    label = text("The model's label at its threshold.")
    model = text("NAME/VERSION.")
    flags = texts("Why a person should look.")


def fracture() -> fields.Nested:
    """Describe the binary model's answer; null where it has not answered."""
    words = "What the binary model says; null where it has not answered."
    return fields.Nested(FractureAnswer, required=True, allow_none=True, metadata={"description": words})
