"""Hostile input that no other file of tests is about; docs/security.md lists all of it."""

from __future__ import annotations

import io
import re
import zipfile
from typing import Any

import pytest
from markupsafe import escape
from sqlalchemy import func, select

from core.tables import RadiographRow, ReviewRow, Role
from tests.conftest import draw_radiograph
from tests.unit.web_fixtures import OURS, Site

SCRIPT = "<script>document.title='owned'</script>"
API = "/api/v1/radiographs"


@pytest.fixture
def answered(site: Site) -> Site:
    site.take_in(1)
    site.classify("spiral", 0.4)
    return site


def test_a_note_and_a_readers_name_are_never_markup(answered: Site) -> None:
    answered.client.post("/review/reader", data={"name": SCRIPT})
    assert answered.client.post("/review/1", data={"label": "spiral", "note": SCRIPT}).status_code == 303
    for address in ("/radiographs/1", "/review/1"):
        text = answered.client.get(address).text
        assert text.count(str(escape(SCRIPT))) >= 2, address
        assert SCRIPT not in text
    kept = answered.client.get(f"{API}/1")
    assert kept.json["reviews"][0]["note"] == SCRIPT
    assert kept.mimetype == "application/json"  # with nosniff no browser reads it as a page


@pytest.mark.parametrize("name", ["a\r\nSet-Cookie: owned=1.png", 'a"; filename="b.html', "a\nX-Owned: 1"])
def test_what_people_name_is_in_no_header(answered: Site, name: str) -> None:
    answered.upload((name, draw_radiograph(2)), name=name)
    for address in ("/radiographs/2", f"{API}/2", f"{API}/2/image.png", "/results/export.csv?name=a", "/submissions/2"):
        with answered.client.get(address) as answer:
            assert "owned" not in str(answer.headers).lower(), address
            assert "b.html" not in str(answer.headers), address


@pytest.mark.parametrize("query", ["name", "label", "flag", "in_set", "model"])
def test_a_parameter_is_never_sql(answered: Site, query: str) -> None:
    for words in ("' OR '1'='1", "'; DROP TABLE radiographs; --", "%' UNION SELECT password_hash FROM users --"):
        answer = answered.client.get(API, query_string={query: words})
        assert answer.status_code in (200, 404), words
        assert answer.status_code == 404 or answer.json["radiographs"] == [], words
    with answered.database.reading() as session:
        assert session.scalar(select(func.count()).select_from(RadiographRow)) == 1


@pytest.mark.parametrize(
    "body",
    [
        '{"label": ' + "[" * 200_000,
        '{"a":' * 50_000,
        '{"seen": ' + "9" * 10_000 + "}",
        '{"label": "\\ud800"}',
        '{"label": "spiral", "label": {"x": 1}}',
        "\xff\xfe",
    ],
    ids=["deep lists", "deep objects", "a huge number", "half a character", "twice", "no UTF-8"],
)
def test_a_body_that_is_made_to_break_parsers_is_the_senders_fault(answered: Site, body: str) -> None:
    answer = answered.client.post(
        f"{API}/1/reviews", data=body.encode("latin-1"), content_type="application/json", headers=OURS
    )
    assert answer.status_code in (400, 413), answer.text[:200]
    assert answer.mimetype == "application/problem+json"
    with answered.database.reading() as session:
        assert session.scalar(select(func.count()).select_from(ReviewRow)) == 0


@pytest.mark.parametrize(
    "headers", [{"X-HTTP-Method-Override": "POST"}, {"X-HTTP-Method": "DELETE"}, {"X-Original-URL": "/queue"}]
)
def test_headers_change_neither_method_nor_address(answered: Site, headers: dict[str, str]) -> None:
    answer = answered.client.get("/radiographs/1", headers=headers)
    assert answer.status_code == 200
    assert "<h1" in answer.text
    assert answered.client.post("/radiographs/1", headers=OURS).status_code == 405
    assert answered.client.open("/results", method="TRACE").status_code == 405


def test_an_export_names_no_path_of_ours_and_none_outside_itself(answered: Site) -> None:
    answered.upload(("../../../etc/passwd.png", draw_radiograph(2)))
    answered.classify()
    for number in (1, 2):
        answered.client.post(f"/review/{number}", data={"label": "spiral"})
    archive = answered.client.get("/review/labels.zip").data
    with zipfile.ZipFile(io.BytesIO(archive)) as unpacked:
        names = unpacked.namelist()
        table = unpacked.read("MANIFEST.csv").decode()
    assert all(re.fullmatch(r"images/[0-9a-f]{64}\.png|MANIFEST\.csv|README\.txt", name) for name in names)
    assert "passwd" not in table
    assert str(answered.settings.home) not in table


def test_a_reader_reviews_under_no_other_name(answered: Site) -> None:
    answered.add_user("anna", Role.REVIEWER)
    answered.add_user("ben", Role.REVIEWER)
    answered.sign_in("ben")
    forged: dict[str, Any] = {"label": "spiral", "reviewer": "anna", "reader": "anna", "actor": "user:anna"}
    assert answered.client.post("/review/1", data=forged, headers=OURS).status_code == 303
    assert answered.client.post(f"{API}/1/reviews", json=forged, headers=OURS).status_code == 400
    with answered.database.reading() as session:
        assert session.scalars(select(ReviewRow.reviewer)).all() == ["ben"]


@pytest.mark.parametrize("address", ["/queue/retry", "/queue/pause", "/review/reader", "/submissions"])
def test_a_part_of_a_form_without_a_name_is_no_fault_of_ours(answered: Site, address: str) -> None:
    parts = b"".join(
        b"--cut\r\nContent-Disposition: form-data" + name + b"\r\n\r\nwords\r\n" for name in (b"", b'; name="other"')
    )
    kind = "multipart/form-data; boundary=cut"
    answer = answered.client.post(address, data=parts + b"--cut--\r\n", content_type=kind, headers=OURS)
    assert 400 <= answer.status_code < 500 or answer.status_code == 303, (address, answer.text)
