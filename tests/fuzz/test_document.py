"""The API against its own OpenAPI document: the allowed is taken, the forbidden refused, answers are as described."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import schemathesis
from hypothesis import HealthCheck, given
from hypothesis import settings as effort
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from core.settings import Settings
from tests.unit.web_fixtures import Site, left_to_the_collector

ALLOWED, FORBIDDEN = schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE
#: What the document cannot say: which bytes are a radiograph, that one number of two is the lower, which labels the
#: installed models have, and that an installation without a broker is not ready; and, for apispec leaves it out beside
#: a description, that a body has no other keys. Nor that an empty parameter does not count, wherever it is.
SPARED: dict[str, list[Any]] = {
    "POST /api/v1/radiographs": [positive_data_acceptance],
    "GET /api/v1/radiographs": [negative_data_rejection],
    "GET /api/v1/worklist": [negative_data_rejection],
    "GET /api/v1/radiographs/{radiograph_id}/image.png": [positive_data_acceptance, negative_data_rejection],
    "POST /api/v1/radiographs/{radiograph_id}/reviews": [positive_data_acceptance],
    "GET /api/v1/radiographs/{radiograph_id}/activation.png": [positive_data_acceptance],
    "POST /api/v1/queue/retry": [positive_data_acceptance],
    "POST /api/v1/submissions/{submission_id}/priority": [positive_data_acceptance],
    "POST /api/v1/queue/pause": [positive_data_acceptance],
    "POST /api/v1/queue/resume": [positive_data_acceptance],
    "GET /readyz": [not_a_server_error],
}


@pytest.fixture
def site(settings: Settings) -> Iterator[Site]:
    site = Site(settings)
    with left_to_the_collector():
        site.take_in(1, 2)
        site.classify()
        site.take_in(3)
        site.fail()
        yield site
    site.database.dispose()


def put_through(site: Site, examples: int) -> int:
    """Ask every operation so many times in each mode; return how many requests that were."""
    asked = 0
    document = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", site.app)
    operations: list[Any] = list(document.get_all_operations())
    for operation in [found.ok() for found in operations]:
        has_parameters = bool(operation.path_parameters or operation.query or operation.body)
        for mode in (ALLOWED, FORBIDDEN) if has_parameters else (ALLOWED,):

            @given(case=operation.as_strategy(generation_mode=mode))
            @effort(
                max_examples=examples,
                derandomize=True,  # the same requests each time
                database=None,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            )
            def ask(case: schemathesis.Case[Any]) -> None:
                nonlocal asked
                asked += 1
                spared = SPARED.get(case.operation.label, [])
                answer = case.call()
                sent = parse_qsl(urlsplit(str(answer.request.url)).query, keep_blank_values=True)
                if any(not value for _, value in sent):
                    spared = [*spared, negative_data_rejection]
                case.validate_response(answer, excluded_checks=spared)

            ask()
    return asked


def test_the_api_does_what_its_document_says(site: Site) -> None:
    assert put_through(site, 25) > 250


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_the_api_does_what_its_document_says_for_long(site: Site) -> None:
    assert put_through(site, 500) > 5000
