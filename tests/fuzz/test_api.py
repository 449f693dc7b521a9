"""Odd requests to every route: an answer below 500, and afterwards everything works as before."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

import pytest
from sqlalchemy import select

from core.settings import Settings
from core.storage import FolderStore
from core.tables import ArrivalRow, ArrivalStatus, RadiographRow
from tests.conftest import draw_radiograph
from tests.fuzz.requests import odd_request
from tests.fuzz.seeds import SEED, numbers
from tests.unit.web_fixtures import Site, left_to_the_collector


def put_through(site: Site, first: int, count: int, caplog: pytest.LogCaptureFixture) -> None:
    site.take_in(1, 2)
    site.classify()
    site.take_in(3)
    site.fail()
    statuses = set()
    for number in numbers(first, count):
        sent = odd_request(SEED, number, site.app.url_map)
        caplog.clear()
        answer = site.client.open(
            sent.path, query_string=sent.query, method=sent.method, headers=sent.headers, data=sent.body
        )
        # Without a broker the installation is not ready, and says so.
        fine = answer.status_code < 500 or (answer.status_code == 503 and sent.path.startswith("/readyz"))
        assert fine, f"number {number} of seed {SEED}: {answer.status}\n{sent!r:.3000}\n{caplog.text[-3000:]}"
        if answer.is_json and sent.method != "HEAD":
            json.loads(answer.data)
        statuses.add(answer.status_code)
    # Otherwise the requests are too odd to reach the code behind the doors, or not odd enough.
    assert len(numbers(0, 2)) == 1 or {200, 202, 303, 400, 404, 405, 422} <= statuses

    answer = site.upload(("hand.png", draw_radiograph(99)))
    assert answer.status_code == 202
    assert answer.json["files"][0]["status"] == "accepted"
    for page in (
        "/",
        "/results",
        "/queue",
        "/api/v1/radiographs?limit=500",
        f"/submissions/{answer.json['submission']}",
    ):
        assert site.client.get(page).status_code == 200
    folder = FolderStore.at(site.settings.store_url).folder
    kept = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}
    with site.database.reading() as session:
        # What is kept of DICOM is not what came.
        rows = session.execute(select(RadiographRow.sha256, RadiographRow.stored_sha256)).all()
        accepted = session.scalars(select(ArrivalRow.sha256).where(ArrivalRow.status == ArrivalStatus.ACCEPTED))
        assert set(accepted) == {came for came, _ in rows}
    stored = {altered or came for came, altered in rows}
    assert kept == {digest: digest for digest in stored}


@pytest.fixture
def any_site(settings: Settings, database_url: str) -> Iterator[Site]:
    site = Site(settings.with_changes(database_url=database_url))
    yield site
    site.database.dispose()


def test_odd_requests_are_answered(any_site: Site, caplog: pytest.LogCaptureFixture) -> None:
    with left_to_the_collector():
        put_through(any_site, 0, 500, caplog)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_many_odd_requests_are_answered(any_site: Site, caplog: pytest.LogCaptureFixture) -> None:
    with left_to_the_collector():
        put_through(any_site, 1000, 4000, caplog)
