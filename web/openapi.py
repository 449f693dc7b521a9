"""The API's document (OpenAPI 3.1), made from the same schemas that read requests and write answers."""

from __future__ import annotations

import http
from typing import Any

import flask_smorest
from apispec.ext.marshmallow import MarshmallowPlugin
from flask import Flask, Response, request
from marshmallow import Schema, fields

from web.identifiers import LARGEST, IdentifierConverter
from web.parameters import QueryParser
from web.words import PURPOSE

PREFIX = "/api/v1"
PROBLEM_TYPE = "application/problem+json"


class Problem(Schema):
    """What went wrong (RFC 9457)."""

    type = fields.String(required=True, metadata={"examples": ["about:blank"]})
    title = fields.String(required=True, metadata={"description": "The kind of trouble, for people."})
    status = fields.Integer(required=True, metadata={"description": "The HTTP status."})
    code = fields.String(required=True, metadata={"description": "The kind of trouble, for programs."})
    detail = fields.String(required=True, metadata={"description": "What went wrong and what can be done, a sentence."})

    class Meta:
        """For the document."""

        description = "What went wrong (RFC 9457)."


class Body(Schema):
    """What a request carries as JSON; a key that it does not know is refused."""


class Plugin(MarshmallowPlugin):
    """Says of bodies that other keys are refused; apispec forgets it where there is a description."""

    # The signature is that of the class above, which itself differs from the one above it.
    def schema_helper(self, name: Any, _: Any, schema: Any = None, **options: Any) -> Any:  # type: ignore[override]
        """Describe one schema, given as class or instance."""
        found = super().schema_helper(name, _, schema=schema, **options)  # type: ignore[no-untyped-call]
        if found and issubclass(schema if isinstance(schema, type) else type(schema), Body):
            found["additionalProperties"] = False
        return found


class Blueprint(flask_smorest.Blueprint):  # type: ignore[misc]  # flask-smorest carries no types
    """Routes that are described in the API's document. Docstrings' first lines are the summaries."""

    ARGUMENTS_PARSER = QueryParser()


class Api(flask_smorest.Api):  # type: ignore[misc]  # likewise
    """The document; errors are answered by `web.problems` and described as what it answers."""

    ERROR_SCHEMA = Problem

    def _register_error_handlers(self) -> None:
        pass

    def _register_responses(self) -> None:
        for name, words in [(status.name, status.phrase) for status in http.HTTPStatus] + [
            (self.DEFAULT_ERROR_RESPONSE_NAME, "What went wrong, as problem details")
        ]:
            answer = {"description": words, "content": {PROBLEM_TYPE: {"schema": Problem}}}
            self.spec.components.response(name, answer, lazy=True)

    def _register_pagination_header(self) -> None:
        pass  # pages are told by `next`


def tagged(answer: Response) -> Response:
    """Let readers ask again cheaply: an unchanged answer is a 304 without a body."""
    if request.method in ("GET", "HEAD") and answer.status_code == 200:
        answer.add_etag()
        answer.make_conditional(request)
    return answer


def describe(app: Flask) -> Api:
    """Serve the API's document; register blueprints with what is returned.

    Args:
        app: Whose configuration is set and which gets the route `/api/v1/openapi.json`.
    """
    app.config.update(
        API_TITLE="Fracture Queue",
        API_VERSION="v1",
        OPENAPI_VERSION="3.1.0",
        OPENAPI_URL_PREFIX=PREFIX,
        API_SPEC_OPTIONS={
            "info": {"description": PURPOSE, "license": {"name": "Apache-2.0"}},
            # Either: on one's own machine, before the first user is added, nobody signs in.
            "security": [{"bearer": []}, {}],
        },
    )
    api = Api(app, spec_kwargs={"marshmallow_plugin": Plugin()})
    bearer = {"type": "http", "scheme": "bearer", "description": "A key that `fracture-queue token add` made."}
    api.spec.components.security_scheme("bearer", bearer)
    api.register_converter(IdentifierConverter, _identifier_schema)
    return api


def document_of(app: Flask) -> dict[str, Any]:
    """Return the document as JSON types."""
    document: dict[str, Any] = app.extensions["flask-smorest"]["apis"][""]["ext_obj"].spec.to_dict()
    return document


def _identifier_schema(_converter: IdentifierConverter) -> dict[str, Any]:
    return {"type": "integer", "minimum": 0, "maximum": LARGEST}
