"""The API's document, and the page that shows it to people."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest

from core.records.results import get_result
from tests.unit.web_fixtures import Site
from web.reference import kind_words
from web.schemas.queue import Queue
from web.schemas.radiographs import Listed, Radiograph


@pytest.fixture
def document(site: Site) -> dict[str, Any]:
    answer = site.client.get("/api/v1/openapi.json")
    assert answer.status_code == 200
    return dict(answer.get_json())


def test_every_route_of_the_api_is_in_the_document(site: Site, document: dict[str, Any]) -> None:
    served = {
        (method.lower(), rule.rule.replace("<id:", "{").replace(">", "}"))
        for rule in site.app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if rule.rule.startswith(("/api/", "/healthz", "/readyz", "/metrics"))
    }
    described = {
        (method, path) for path, item in document["paths"].items() for method in item if method != "parameters"
    }

    assert described == served - {("get", "/api/v1/openapi.json")}


def test_every_operation_and_every_parameter_is_explained(document: dict[str, Any]) -> None:
    operations = [item[method] for item in document["paths"].values() for method in item if method != "parameters"]
    assert all(operation["summary"].endswith(".") for operation in operations)
    assert all(parameter["description"] for operation in operations for parameter in operation.get("parameters", ()))
    assert all(schema["description"] for schema in document["components"]["schemas"].values())
    assert "never for diagnosis" in document["info"]["description"]


def test_the_api_and_the_command_line_show_the_same_keys(site: Site) -> None:
    [number] = site.take_in(1)
    site.classify()
    with site.database.reading() as session:
        result = get_result(session, number)
    listed = site.client.get("/api/v1/radiographs").json["radiographs"][0]

    assert listed == {**result.document(), "url": f"/api/v1/radiographs/{number}"}
    assert set(Listed().fields) == set(listed)
    assert set(Radiograph().fields) == set(site.client.get(listed["url"]).get_json())
    assert set(Queue().fields) == set(site.client.get("/api/v1/queue").get_json())


def test_the_page_shows_every_operation_and_links_only_to_shapes_that_it_has(
    site: Site, document: dict[str, Any]
) -> None:
    page = site.client.get("/api")

    assert page.status_code == 200
    text = unescape(page.text)
    for path in document["paths"]:
        assert path in text
    links = {part.split('"')[0] for part in page.text.split('href="#')[1:]} - {"content"}
    assert links <= set(document["components"]["schemas"])
    assert len(links) > 10


def test_the_page_explains_each_key_of_each_json_body(site: Site, document: dict[str, Any]) -> None:
    page = site.client.get("/api").text
    bodies = 0
    for path, item in document["paths"].items():
        content = item.get("post", {}).get("requestBody", {}).get("content", {}).get("application/json")
        if content is None:
            continue
        bodies += 1
        (article,) = (
            part for part in re.findall(r"<article.*?</article>", page, flags=re.S) if f"POST {path}</code>" in part
        )
        schema = document["components"]["schemas"][content["schema"]["$ref"].rpartition("/")[2]]
        rows = dict(re.findall(r'<tr><th scope="row"><code>(.*?)</code>(.*?)</tr>', article, flags=re.S))
        for key, given in schema["properties"].items():
            text = unescape(re.sub(r"<[^>]*>", "", rows[key]))
            assert kind_words(given) in text and given["description"] in text
            assert ("needed" in text) == (key in schema.get("required", []))
    assert bodies >= 5


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        (
            {"type": "integer", "minimum": 1, "maximum": 500, "default": 50},
            "whole number from 1 to 500; 50 if not given",
        ),
        ({"type": ["number", "null"]}, "number or null"),
        ({"type": ["string", "null"], "format": "date-time"}, "time (ISO 8601) or null"),
        ({"type": "array", "items": {"type": "integer"}}, "list of whole numbers"),
        ({"type": "array", "items": {"$ref": "#/components/schemas/Listed"}}, "list of objects"),
        ({"type": "string", "maxLength": 64}, "text of at most 64 characters"),
        ({"enum": ["done", "failed", None]}, "one of done, failed"),
        ({"anyOf": [{"$ref": "#/components/schemas/Trouble"}, {"type": "null"}]}, "object or null"),
    ],
)
def test_kinds_of_values_in_words(schema: dict[str, Any], words: str) -> None:
    assert kind_words(schema) == words


def test_the_document_says_how_programs_sign_in_and_that_everything_may_be_refused(document: dict[str, Any]) -> None:
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    assert document["security"] == [{"bearer": []}, {}]
    operations = [item[method] for item in document["paths"].values() for method in item if method != "parameters"]
    assert all("default" in operation["responses"] for operation in operations)


def test_bodies_say_that_other_keys_are_refused(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    assert [schemas[name]["additionalProperties"] for name in ("AskBody", "ReviewBody")] == [False, False]
