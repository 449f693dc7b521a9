"""The pages and the API say the same on SQLite and on PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from sqlalchemy import select

from core.settings import Settings
from core.tables import ReadingRow, ReviewRow, Role
from tests.conftest import draw_radiograph
from tests.unit.web_fixtures import OURS, PASSWORD, Site


@pytest.fixture
def site(settings: Settings, database_url: str) -> Iterator[Site]:
    site = Site(settings.with_changes(database_url=database_url))
    yield site
    site.database.dispose()


def test_the_way_from_upload_to_answer_on_each_database(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.add_model("broken", task="fracture", labels=("fractured", "not-fractured"))
    document = site.upload(
        ("hand.png", draw_radiograph(1)), ("again.png", draw_radiograph(1)), ("empty.png", b""), name="ward 3"
    ).json
    assert [file["duplicate"] for file in document["files"]] == [False, True, False]
    [number] = document["files"][0]["radiographs"]
    site.fail()
    site.take_in(2)
    site.classify("spiral", 0.9)

    assert site.client.post(f"/api/v1/radiographs/{number}/retry").status_code == 202
    joined = site.upload(("foot.png", draw_radiograph(3)), submission=str(document["submission"])).json

    assert joined["submission"] == document["submission"]
    listed = site.client.get("/api/v1/radiographs?label=spiral&min_confidence=0.5&name=HAND&since=2020-01-01").json
    assert [result["name"] for result in listed["radiographs"]] == ["hand 2.png"]
    models = site.client.get(f"/api/v1/radiographs/{number}").json["models"]
    assert [model["task"] for model in models] == ["fracture", "fracture-type"]
    assert site.client.get("/api/v1/queue").json["waiting"] == 4
    for page in ("/", "/results", "/queue", f"/radiographs/{number}", document["page"]):
        assert site.client.get(page).status_code == 200, page
    assert site.client.get(f"/api/v1/radiographs/{number}/image.png?size=32").mimetype == "image/png"
    monkeypatch.setattr("core.readiness.announced", lambda: 0)
    assert site.client.get("/readyz").json["reasons"] == []


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("/api/v1/radiographs?name=%00", 400),
        ("/api/v1/radiographs?label=%ED%A0%80", 200),  # a lone surrogate, which UTF-8 does not know
        ("/api/v1/radiographs?name=%25_%5C", 200),
        ("/api/v1/radiographs?model=%F0%9F%A6%B4", 404),
        ("/api/v1/radiographs?before_id=9223372036854775807", 200),
        ("/api/v1/radiographs?submission=9223372036854775807", 200),
        ("/api/v1/radiographs?since=9999-12-31T23:59:59%2B00:00", 200),
        ("/api/v1/radiographs/9223372036854775807", 404),
        ("/submissions/9223372036854775807", 404),
        ("/results?before_id=1", 200),
    ],
)
def test_strange_input_is_never_a_500(site: Site, address: str, status: int) -> None:
    assert site.client.get(address).status_code == status


def test_names_that_a_database_could_refuse_are_kept(site: Site) -> None:
    answer = site.upload(("nul \x00 and bone \U0001f9b4.png", draw_radiograph(1)), name="a\x00b")

    assert answer.status_code == 202
    assert "\N{BONE}" in answer.json["files"][0]["name"]


def test_of_two_people_who_review_at_once_the_second_is_told_and_overwrites_nothing(site: Site) -> None:
    # given: both have the same page before them
    site.take_in(1)
    site.classify("spiral", 0.4)
    for name in ("anna", "ben"):
        site.add_user(name, Role.REVIEWER)
    together, answers = threading.Barrier(2), {}

    def review(name: str, label: str) -> None:
        client = site.app.test_client()
        client.post("/sign-in", data={"name": name, "password": PASSWORD}, headers=OURS)
        assert 'name="seen" value="0"' in client.get("/review/1").text
        together.wait(timeout=60)
        answers[name] = client.post("/review/1", data={"label": label, "seen": "0"}, headers=OURS)

    # when
    people = [threading.Thread(target=review, args=pair) for pair in (("anna", "avulsion"), ("ben", "greenstick"))]
    for person in people:
        person.start()
    for person in people:
        person.join(timeout=60)
    # then: one is heard, the other is told who was, and only the one word stands
    heard, told = sorted(answers, key=lambda name: answers[name].status_code)
    assert (answers[heard].status_code, answers[told].status_code) == (303, 409)
    assert f"{heard} reviewed this radiograph meanwhile" in answers[told].text
    with site.database.reading() as session:
        [kept] = session.scalars(select(ReviewRow)).all()
        [stands] = session.scalars(select(ReadingRow)).all()
    assert (kept.reviewer, stands.reviewer, stands.review_id) == (heard, heard, kept.id)
