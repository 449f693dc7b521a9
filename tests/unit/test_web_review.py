"""Reviewing through the pages and the API."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from werkzeug.test import TestResponse

from core.tables import Role
from tests.unit.web_fixtures import LABELS, OURS, Site

API = "/api/v1"


@pytest.fixture
def doubtful(site: Site) -> Site:
    """Three radiographs: the second is the most doubtful, then the third."""
    for seed, confidence in ((1, 0.9), (2, 0.3), (3, 0.6)):
        site.take_in(seed)
        site.classify("spiral", confidence)
    return site


def say(site: Site, number: int, **fields: Any) -> TestResponse:
    return site.client.post(f"/review/{number}", data=fields)


def send(site: Site, number: int, **body: Any) -> TestResponse:
    return site.client.post(f"{API}/radiographs/{number}/reviews", json=body)


def reviews(site: Site, number: int) -> list[dict[str, Any]]:
    return list(site.client.get(f"{API}/radiographs/{number}").json["reviews"])


def call(site: Site, name: str) -> None:
    assert site.client.post("/review/reader", data={"name": name}).status_code == 303


def test_review_begins_with_the_most_doubtful_and_goes_on_with_the_next(doubtful: Site) -> None:
    assert doubtful.client.get("/review").location == "/review/2"
    page = doubtful.client.get("/review/2")
    assert page.status_code == 200
    assert 'href="/review/3"' in page.text
    assert re.search(r'rel="prefetch" href="/api/v1/radiographs/3/image.png\?size=1024"', page.text)

    answer = say(doubtful, 2, label="greenstick", note="Buckled cortex.\r\nSee also 3.", seen="0")

    assert (answer.status_code, answer.location) == (303, "/review/3")
    [review] = reviews(doubtful, 2)
    assert (review["label"], review["shown"], review["kind"]) == ("greenstick", "spiral", "labelled")
    assert review["note"] == "Buckled cortex.\nSee also 3."
    assert (review["model"], review["reviewer"]) == ("kind/1.0.0", "somebody here")
    assert "Kept: greenstick, for radiograph 2." in doubtful.client.get(answer.location).text


def test_when_all_is_read_the_page_says_so(doubtful: Site) -> None:
    for number in (2, 3, 1):
        answer = say(doubtful, number, kind="unsure")
    assert answer.location == "/review"
    assert "Nothing waits to be reviewed" in doubtful.client.get("/review").text


def test_a_stale_page_is_told_and_can_go_on(doubtful: Site) -> None:
    call(doubtful, "Anna")
    say(doubtful, 2, label="avulsion", seen="0")
    call(doubtful, "Ben")

    stale = say(doubtful, 2, label="spiral", seen="0")

    assert stale.status_code == 409
    assert "Anna reviewed this radiograph meanwhile" in stale.text
    seen = re.search(r'name="seen" value="(\d+)"', stale.text)
    assert seen
    assert [review["reviewer"] for review in reviews(doubtful, 2)] == ["Anna"]
    assert say(doubtful, 2, label="spiral", seen=seen[1]).status_code == 303
    assert [review["reviewer"] for review in reviews(doubtful, 2)] == ["Anna", "Ben"]


def test_the_last_review_is_taken_back_and_shown_again(doubtful: Site) -> None:
    say(doubtful, 2, label="avulsion")
    say(doubtful, 3, label="avulsion")

    answer = doubtful.client.post("/review/undo", data={})

    assert answer.location.startswith("/review/3")
    assert [review["kind"] for review in reviews(doubtful, 3)] == ["labelled", "withdrawn"]
    assert doubtful.client.post("/review/undo").status_code == 303
    assert doubtful.client.post("/review/undo").status_code == 404


def test_a_second_reader_sees_neither_model_nor_first_reader(doubtful: Site) -> None:
    call(doubtful, "Anna")
    say(doubtful, 2, label="avulsion", note="certain of it")
    assert "Nothing waits for a second reading by Anna" in doubtful.client.get("/review?reading=2").text
    call(doubtful, "Ben")
    begun = doubtful.client.get("/review?reading=2")

    assert begun.location == "/review/2?reading=2"
    page = doubtful.client.get(begun.location).text
    for hidden in ("Anna", "certain of it", "hand 2.png", "The model says", "Agree:"):
        assert hidden not in page
    assert say(doubtful, 2, reading="2", label="spiral").location == "/review?reading=2"

    second = reviews(doubtful, 2)[-1]
    assert (second["reading"], second["shown"], second["model"]) == (2, None, None)
    figures = doubtful.client.get(f"{API}/reviews/figures").json
    assert figures["readers"] == {"pairs": 1, "agreed": 0, "kappa": 0.0}
    assert figures["discrepancies"] == [2]
    shown = doubtful.client.get("/review/figures").text
    assert "0 of 1 radiograph read alike" in shown
    assert 'href="/radiographs/2"' in shown


def test_figures_name_how_many_and_the_interval(doubtful: Site) -> None:
    for number, label in ((1, "spiral"), (2, "avulsion"), (3, "spiral")):
        say(doubtful, number, label=label)
    [model] = doubtful.client.get(f"{API}/reviews/figures").json["models"]
    assert (model["model"], model["accuracy"]["right"], model["accuracy"]["all"]) == ("kind/1.0.0", 2, 3)
    assert model["per_source"]["api"]["share"] == pytest.approx(2 / 3)
    assert {"said": "avulsion", "answered": "spiral", "radiographs": 1} in model["confusion"]
    text = doubtful.client.get("/review/figures").text
    assert "2 of 3 (67 %, 95 % interval 21 % to 94 %)" in text


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"label": "bent"}, "The label is none of avulsion, greenstick, spiral, not-fractured."),
        ({}, "The label is none of"),
        ({"kind": "withdrawn"}, "The parameter kind is none of labelled, unsure."),
        ({"label": "spiral", "reading": "3"}, "The parameter reading is not a whole number from 1 to 2."),
        ({"label": "spiral", "seen": "-1"}, "The parameter seen is not a whole number from 0"),
        ({"label": "spiral", "note": "x" * 4001}, "The parameter note is longer than 4000 characters."),
        ({"label": "spiral", "note": "a\0b"}, "The parameter note has control characters."),
    ],
)
def test_what_cannot_be_said_is_refused_with_a_sentence(doubtful: Site, fields: dict[str, str], words: str) -> None:
    answer = doubtful.client.post("/review/2", data=fields, headers={"Accept": "application/json"})
    assert answer.status_code == 400
    assert words in answer.json["detail"]
    assert reviews(doubtful, 2) == []


def test_names_and_notes_are_shown_as_text(doubtful: Site) -> None:
    call(doubtful, "<b>Anna</b>")
    say(doubtful, 2, label="spiral", note="<script>alert(1)</script>")
    page = doubtful.client.get("/review/2").text
    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;alert(1)" in page
    call(doubtful, "Ben")
    assert "&lt;b&gt;Anna" in doubtful.client.get("/review/2").text


def test_programs_review_too(doubtful: Site) -> None:
    worklist = doubtful.client.get(f"{API}/worklist?limit=2").json["radiographs"]
    assert [radiograph["id"] for radiograph in worklist] == [2, 3]

    answer = send(doubtful, 2, label="greenstick", note="by a program")

    assert answer.status_code == 201
    assert answer.json["id"] == reviews(doubtful, 2)[0]["id"]
    stale = send(doubtful, 2, label="spiral")
    assert (stale.status_code, stale.json["code"]) == (409, "review-conflict")
    assert send(doubtful, 2, kind="unsure", seen=answer.json["id"]).status_code == 201
    assert doubtful.client.post(f"{API}/reviews/undo").json["kind"] == "withdrawn"
    assert doubtful.client.post(f"{API}/reviews/undo").status_code == 404
    assert [review["kind"] for review in reviews(doubtful, 2)] == ["labelled", "unsure", "withdrawn"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("{", "The body is no JSON document."),
        ("[1]", "The body is no JSON object."),
        ('{"label": 7}', "The parameter label cannot be used: Not a valid string."),
        ('{"label": "spiral", "seen": "7"}', "The parameter seen cannot be used: Not a valid integer."),
        ('{"label": "spiral", "kind": "withdrawn"}', "The parameter kind cannot be said"),
        ('{"label": "spiral", "mood": "good"}', "There is no parameter 'mood'"),
        (json.dumps({"label": "spiral", "note": "x" * 4001}), "The parameter note cannot be used: Longer than"),
    ],
)
def test_a_bad_body_is_refused_with_a_sentence(doubtful: Site, body: str, words: str) -> None:
    answer = doubtful.client.post(f"{API}/radiographs/2/reviews", data=body, content_type="application/json")
    assert answer.status_code == 400, answer.text
    assert answer.mimetype == "application/problem+json"
    assert words in answer.json["detail"]
    assert reviews(doubtful, 2) == []


def test_a_body_has_to_say_that_it_is_json(doubtful: Site) -> None:
    answer = doubtful.client.post(f"{API}/radiographs/2/reviews", data='{"label": "spiral"}', content_type="text/plain")
    assert answer.status_code == 400
    assert "Content-Type: application/json" in answer.json["detail"]


def test_where_no_fracture_is_suspected_agreeing_means_that(site: Site) -> None:
    binary = site.add_model("broken", task="fracture", labels=("fractured", "not-fractured"))
    site.take_in(1)
    site.classify_only(1, "spiral", 0.4, LABELS)
    site.classify_only(binary, "not-fractured", 0.8, ("fractured", "not-fractured"))
    assert "Nothing waits" in site.client.get("/review").text
    assert site.client.get("/review?question=fracture").location == "/review/1?question=fracture"
    assert "Agree: Not fractured" in site.client.get("/review/1?question=fracture").text
    say(site, 1, label="not-fractured", question="fracture")
    assert reviews(site, 1)[0]["shown"] == "not-fractured"


def test_an_unknown_radiograph_is_404(site: Site) -> None:
    assert site.client.get("/review/7").status_code == 404
    assert say(site, 7, label="spiral").status_code == 404
    assert send(site, 7, label="spiral").status_code == 404


def test_whoever_signed_in_is_the_reader_and_chooses_no_other_name(doubtful: Site) -> None:
    doubtful.add_user("anna", Role.REVIEWER)
    program = doubtful.add_token("anna")
    doubtful.sign_in("anna")
    assert "You review as" not in doubtful.client.get("/review/2").text
    doubtful.client.post("/review/reader", data={"name": "bert"}, headers=OURS)

    assert doubtful.client.post("/review/2", data={"label": "spiral", "seen": "0"}, headers=OURS).status_code == 303
    doubtful.client.post("/sign-out", headers=OURS)
    answer = doubtful.client.post(f"{API}/radiographs/3/reviews", json={"label": "spiral"}, headers=program)
    assert answer.status_code == 201

    readers = [
        doubtful.client.get(f"{API}/radiographs/{number}", headers=program).json["reviews"][0]["reviewer"]
        for number in (2, 3)
    ]
    assert readers == ["anna", "token:anna"]


def test_a_viewer_sees_what_was_reviewed_and_reviews_nothing(doubtful: Site) -> None:
    doubtful.add_user("vera", Role.VIEWER)
    doubtful.sign_in("vera")

    assert 'href="/review"' not in doubtful.client.get("/results").text
    assert doubtful.client.get("/review/figures").status_code == 200
    assert doubtful.client.get(f"{API}/worklist").status_code == 200
    assert doubtful.client.get("/review/2").status_code == 403
    assert doubtful.client.post("/review/2", data={"label": "spiral", "seen": "0"}, headers=OURS).status_code == 403
