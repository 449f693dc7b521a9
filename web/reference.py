"""The API for people to read: one page made from its document, with our own style and no script."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import Blueprint, current_app, render_template

from web.openapi import document_of

blueprint = Blueprint("reference", __name__)


@dataclass(frozen=True)
class Member:
    """A parameter, a form field, or a key of a body or an answer."""

    name: str
    kind: str  # in words, such as "number from 0 to 1"
    description: str
    shape: str = ""  # the name of the shape that the key holds, if it is one of ours
    needed: bool = False  # of what is sent: without it the request is refused


@dataclass(frozen=True)
class Operation:
    """One thing that can be asked."""

    method: str
    path: str
    summary: str
    description: str
    parameters: tuple[Member, ...]
    sent: tuple[Member, ...]  # of the body
    is_json: bool  # else it is a form
    may_be_empty: bool  # no key of the body is needed
    answers: tuple[tuple[str, str, str], ...]  # status, words, name of the shape


@blueprint.get("/api")
def reference_page() -> str:
    """Show what the API's document says."""
    document = document_of(current_app)
    schemas = document["components"]["schemas"]
    groups: dict[str, list[Operation]] = {}
    for path, item in document["paths"].items():
        for method in (name for name in ("get", "post", "put", "delete") if name in item):
            operation = _operation(method, path, item[method], item.get("parameters", []), schemas)
            groups.setdefault(item[method]["tags"][0], []).append(operation)
    shapes = {name: (schema.get("description", ""), _members(schema)) for name, schema in schemas.items()}
    return render_template("reference.html", groups=groups, shapes=shapes)


def _operation(
    method: str, path: str, given: dict[str, Any], shared: list[dict[str, Any]], shapes: dict[str, Any]
) -> Operation:
    ((media_type, body),) = (given.get("requestBody", {}).get("content") or {"": {}}).items()
    schema = body.get("schema", {})
    # What is sent as JSON is a shape of its own; a reader wants to see it where it is sent.
    sent = _members(shapes.get(_referred(schema), schema), of_request=True)
    return Operation(
        method=method.upper(),
        path=path,
        summary=given["summary"],
        description=given.get("description", "").replace("`", ""),
        parameters=tuple(
            Member(
                one["name"], kind_words(one["schema"]), one.get("description", ""), needed=one.get("required", False)
            )
            for one in [*shared, *given.get("parameters", [])]
        ),
        sent=sent,
        is_json=media_type == "application/json",
        may_be_empty=not any(member.needed for member in sent),
        answers=tuple(
            (status, answer["description"].replace("`", ""), _shape_of(answer))
            for status, answer in given["responses"].items()
            if "$ref" not in answer
        ),
    )


def _members(schema: dict[str, Any], *, of_request: bool = False) -> tuple[Member, ...]:
    needed = schema.get("required", []) if of_request else []
    return tuple(
        Member(name, kind_words(given), given.get("description", ""), _referred(given), name in needed)
        for name, given in schema.get("properties", {}).items()
    )


def _shape_of(answer: dict[str, Any]) -> str:
    """Return the name of an answer's shape; without one the answer is no JSON."""
    return next((_referred(content["schema"]) for content in answer.get("content", {}).values()), "")


def _referred(schema: dict[str, Any]) -> str:
    """Return the name of the shape that a schema refers to, itself or in its items."""
    found = [schema, schema.get("items", {}), *schema.get("allOf", []), *schema.get("anyOf", [])]
    return next((one["$ref"].rpartition("/")[2] for one in found if "$ref" in one), "")


_WORDS = {"integer": "whole number", "boolean": "true or false", "string": "text"}


def kind_words(schema: dict[str, Any]) -> str:
    """Say in words what kind of value a schema allows."""
    if "enum" in schema:
        return "one of " + ", ".join(str(word) for word in schema["enum"] if word is not None)
    kinds = schema.get("type", [])
    words = " or ".join(_WORDS.get(kind, kind) for kind in ([kinds] if isinstance(kinds, str) else kinds))
    if not words:
        words = "object" if _referred(schema) else ""
        nothing = any(one.get("type") == "null" for one in schema.get("anyOf", []))
        words += " or null" if nothing else ""
    if schema.get("format") == "date-time":
        words = words.replace("text", "time (ISO 8601)")
    if "items" in schema:
        inner = kind_words(schema["items"])
        words = words.replace("array", f"list of {'objects' if inner == 'object' else inner + 's'}")
    if schema.get("maximum", 2**60) < 2**60:
        words += f" from {schema['minimum']} to {schema['maximum']}"
    if "maxLength" in schema:
        words += f" of at most {schema['maxLength']} characters"
    if schema.get("default") not in (None, ""):
        words += f"; {schema['default']} if not given"
    return words
