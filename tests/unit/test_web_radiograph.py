"""One radiograph's page: what answers mean in words, how they came about, who did what, and asking another model."""

from __future__ import annotations

import re
from html import unescape

import pytest
from sqlalchemy import update

from core.records.models import set_active
from core.tables import ModelVersionRow, Role
from tests.unit.web_fixtures import LABELS, OURS, Site

CARD = {
    "labels": list(LABELS),
    "title": "The kind model",
    "input": {"side": 256, "channels": 1, "geometry": "letterbox-1"},
    "calibration": {"method": "temperature", "temperature": 1.4521, "fitted_on": "valid", "images": 767},
    "conformal": {"coverage": 0.9, "threshold": 0.05},
}
API = "/api/v1/radiographs"


@pytest.fixture
def answered(site: Site) -> Site:
    """One radiograph that a calibrated model has answered, and a model that has not been asked."""
    with site.database.transaction() as session:
        session.execute(update(ModelVersionRow).values(card=CARD))
    site.take_in(1)
    site.classify("spiral", 0.7)
    site.add_model("large")
    with site.database.transaction() as session:
        set_active(session, "large", active=False, actor="test")
    return site


def shown(site: Site, number: int = 1, **headers: str) -> str:
    """The page's text, without its tags."""
    answer = site.client.get(f"/radiographs/{number}", headers=headers)
    assert answer.status_code == 200, answer.text
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", answer.text)).split())


def say(site: Site, label: str, *, name: str = "", **fields: str) -> None:
    if name:
        site.client.post("/review/reader", data={"name": name})
    data = {"label": label, "seen": "0", **fields}
    assert site.client.post("/review/1", data=data, headers=OURS).status_code == 303


def test_the_confidence_and_what_is_left_open_are_said_in_words(answered: Site) -> None:
    text = shown(answered)
    assert "Right in about 7 in 10 answers that are as sure as this one, on pictures like those" in text
    assert (
        "It may be spiral; the other 2 classes can be ruled out. Ruling out is wrong in about 1 in 10 radiographs."
        in text
    )


def test_the_page_says_from_which_probability_on_a_fracture_is_suspected(site: Site) -> None:
    binary = ("fractured", "not-fractured")
    number = site.add_model("whether", task="fracture", labels=binary)
    site.take_in(1)
    site.classify_only(number, "not-fractured", 0.9, binary)
    decision = {"label": "fractured", "threshold": 0.122663, "sensitivity_wanted": 0.9, "chosen_on": "valid"}
    for given, words in (
        (decision, "from a probability of 12.3 % on, the threshold on the model's card, chosen to find about 9 in 10"),
        ({"label": "not-fractured", "threshold": 0.7}, "from a probability of 30.0 % on, the threshold"),
        (None, "where it is more likely than not; the model's card sets no other threshold."),
    ):
        card = {"labels": list(binary), "decision": given}
        with site.database.transaction() as session:
            session.execute(update(ModelVersionRow).where(ModelVersionRow.id == number).values(card=card))
        assert f"A fracture is suspected {words}" in shown(site)


def test_why_this_number(answered: Site) -> None:
    text = shown(answered)
    for fact in (
        "The kind model (kind/1.0.0)",
        "Bundle sha256 " + (b"kind".hex() * 64)[:64],
        "Turned to 8-bit grey, fitted into 256 by 256 px with its proportions kept, the rest black (letterbox-1).",
        "Calibrated: its logits divided by 1.4521, which fitted best on 767 images (valid).",
        "Classified, 1 attempt",
        "Engine litert",
        "after its batch was begun",
    ):
        assert fact in text
    for word in ("Waited", "Decoded in", "Inferred in", "Stored"):
        assert word in text


def test_a_model_that_nobody_calibrated_is_not_called_calibrated(site: Site) -> None:
    site.take_in(1)
    site.classify("spiral", 0.03)
    text = shown(site)
    assert "Right in less than 1 in 20 answers" in text
    assert "nobody has compared that with the truth (not calibrated)" in text
    assert "The network's own probabilities, not calibrated." in text
    assert "ruled out" not in text


def test_flags_are_sentences(site: Site) -> None:
    site.take_in(1)
    site.classify("spiral", 0.4)
    assert "Unsure which kind; a person should look." in shown(site)


def test_the_history_names_what_happened_and_who_did_it(site: Site) -> None:
    site.take_in(1)
    site.fail("bug", "It broke.")
    site.client.post("/radiographs/1/retry")
    site.classify()
    say(site, "spiral", name="Anna")
    site.client.post("/review/undo")
    _, _, history = shown(site).partition("History")
    told = [
        "The first reading was taken back. Anna",
        "The first reading was given. Anna",
        "kind/1.0.0 answered. worker@test:1",
        "Sent back to the queue for kind/1.0.0, after it had failed. somebody at this page",
        "kind/1.0.0 failed: It broke. worker@test:1",
        "Came in as hand 1.png. whoever was at this machine",
    ]
    places = [history.index(words) for words in told]
    assert places == sorted(places)


def test_the_trail_names_who_reviewed_as_it_names_everybody(answered: Site) -> None:
    answered.add_user("anna", Role.REVIEWER)
    answered.sign_in("anna")
    say(answered, "spiral")
    answered.client.post("/review/undo", headers=OURS)
    from core.records.events import events_of

    with answered.database.reading() as session:
        events = [(event.kind, event.actor) for event in events_of(session, 1)]
    assert events[-2:] == [("reviewed", "user:anna"), ("review-withdrawn", "user:anna")]


# Reviews, and from whom they are kept


def test_reviews_are_shown_with_what_the_model_had_said(answered: Site) -> None:
    assert "Nobody has reviewed this radiograph yet. Review it" in shown(answered)
    say(answered, "avulsion", note="a chip\nat the tip")
    assert "Avulsion; the model had said Spiral a chip at the tip" in shown(answered)


def test_who_may_have_to_read_second_is_not_told_what_was_said_first(answered: Site) -> None:
    say(answered, "avulsion", name="Anna", note="certain of it")
    assert "certain of it" in shown(answered)  # Anna herself
    answered.client.post("/review/reader", data={"name": "Ben"})

    text, document = shown(answered), answered.client.get(f"{API}/1").json
    for page in (text, answered.client.get("/review/1").text, str(document["reviews"])):
        assert "Anna" in page
        assert "certain of it" not in page
    _, _, people = text.partition("What people said")
    assert "Avulsion" not in people
    assert "Read it second" in people
    [kept] = document["reviews"]
    assert (kept["hidden"], kept["kind"], kept["label"], kept["note"], kept["shown"]) == (True, None, None, "", None)

    assert answered.client.post("/review/1", data={"label": "spiral", "reading": "2"}).status_code == 303
    assert "certain of it" in shown(answered)
    assert [each["label"] for each in answered.client.get(f"{API}/1").json["reviews"]] == ["avulsion", "spiral"]


def test_who_is_told_of_a_conflict_is_not_told_what_the_other_said(answered: Site) -> None:
    say(answered, "avulsion", name="Anna")
    answered.client.post("/review/reader", data={"name": "Ben"})
    stale = answered.client.post("/review/1", data={"label": "spiral", "seen": "0"})
    assert stale.status_code == 409
    assert "Anna reviewed this radiograph meanwhile" in stale.text
    assert "said: Avulsion" not in stale.text


def test_a_viewer_reads_nothing_second_and_sees_what_was_said(answered: Site) -> None:
    say(answered, "avulsion", name="Anna", note="certain of it")
    answered.add_user("anna")
    answered.add_user("vera", Role.VIEWER)
    answered.sign_in("vera")
    text = shown(answered)
    assert "certain of it" in text
    assert "Read it second" not in text
    assert "Classify again" not in text


# Another model


def test_another_model_is_asked_and_its_answer_stands_beside(answered: Site) -> None:
    answered.rung.clear()
    assert '<button type="submit" class="plain-button" name="model" value="large/1.0.0">' in (
        answered.client.get("/radiographs/1").text
    )
    for _ in range(2):
        answer = answered.client.post("/radiographs/1/classify", data={"model": "large/1.0.0"})
        assert (answer.status_code, answer.location) == (303, "/radiographs/1")
    assert answered.rung == [1]
    text = shown(answered)
    assert "Waiting in the queue" in text
    assert "Classify again" not in text
    answered.classify("avulsion", 0.6)
    text = shown(answered)
    assert text.index("Spiral 70 %") < text.index("Answers of other models") < text.index("Avulsion 60 %")
    assert "large/1.0.0 was asked too. somebody at this page" in text
    [listed] = answered.client.get(API).json["radiographs"]
    assert listed["label"] == "spiral"


def test_programs_ask_another_model_too(answered: Site) -> None:
    first = answered.client.post(f"{API}/1/classify", json={"model": "large"})
    again = answered.client.post(f"{API}/1/classify", json={"model": "large/1.0.0"})
    assert (first.status_code, again.status_code) == (202, 202)
    assert (first.json["new"], again.json["new"]) == (True, False)
    assert first.json["job"] == again.json["job"]
    assert (first.json["model"], first.json["status"], first.json["url"]) == ("large/1.0.0", "waiting", f"{API}/1")


def test_a_broker_that_is_away_only_delays_the_other_model(answered: Site) -> None:
    answered.broker_away = True
    assert answered.client.post(f"{API}/1/classify", json={"model": "large"}).status_code == 202
    assert answered.claim() is not None


@pytest.mark.parametrize(
    ("number", "body", "status", "code"),
    [
        (1, {"model": "nobody"}, 404, "not-found"),
        (9, {"model": "large"}, 404, "not-found"),
        (1, {}, 400, "bad-parameter"),
        (1, {"model": ""}, 400, "bad-parameter"),
        (1, {"model": 7}, 400, "bad-parameter"),
        (1, {"model": "large", "mood": "good"}, 400, "bad-parameter"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_a_sentence(
    answered: Site, number: int, body: object, status: int, code: str
) -> None:
    answer = answered.client.post(f"{API}/{number}/classify", json=body)
    assert (answer.status_code, answer.json["code"]) == (status, code)
    assert answered.claim() is None


def test_a_model_whose_bundle_is_gone_cannot_be_asked(answered: Site) -> None:
    with answered.database.transaction() as session:
        session.execute(update(ModelVersionRow).where(ModelVersionRow.name == "large").values(installed=False))
    assert "Classify again" not in shown(answered)
    answer = answered.client.post(f"{API}/1/classify", json={"model": "large"})
    assert (answer.status_code, answer.json["code"]) == (409, "model-not-installed")
    page = answered.client.post("/radiographs/1/classify", data={})
    assert page.status_code == 400
