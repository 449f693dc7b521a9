"""Weeks beside a card: chance stays within the band, a shift does not."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from core.database import Database
from core.drift import LEAST_COUNT, Reference, Week, sentences, weeks_of
from core.records.suspected import weekly_suspected
from core.records.tallies import Tally, monday_of, record_tally
from core.tables import ModelVersionRow, PredictionRow
from tests.conftest import add_model
from tests.fakes import answered, claimed, store, take_in
from tests.unit.web_fixtures import Site

BINARY = ("fractured", "not-fractured")
_LABELS = ("avulsion", "greenstick", "spiral")
_SHARES = (0.6, 0.3, 0.1)
_MONDAY = date(2026, 3, 2)


def card(images: int = 767) -> dict[str, Any]:
    given = [round(share * images) for share in _SHARES]
    return {
        "labels": list(_LABELS),
        "metrics": {
            "cross-validated": {
                "images": images,
                "accuracy": 0.3,
                "mean_confidence": 0.5,
                "intervals_95": {"mean_confidence": [0.49, 0.51]},
                "confusion_matrix": {"labels": list(_LABELS), "counts": [given]},
                "needs_a_human": {"share": 0.4},
            },
            "test": {"images": 145, "unlike_radiographs": {"share": 0.01}},
        },
    }


def tally(labels: dict[str, int], *, confidence: float = 0.5, doubtful: float = 0.4, unlike: float = 0.01) -> Tally:
    count = sum(labels.values())
    flags = Counter({"doubtful": round(doubtful * count), "unlike-radiographs": round(unlike * count)})
    return Tally(answers=count, confidence=confidence * count, labels=Counter(labels), flags=flags)


def week_of(found: Tally, disagreement: tuple[int, int] = (0, 0)) -> Week:
    (week,) = weeks_of(Reference.of(card()), {_MONDAY: found}, {_MONDAY: disagreement})
    return week


def outside(week: Week) -> list[str]:
    return [figure.name for figure in week.figures if figure.outside]


def test_a_card_tells_the_shares_of_the_answers_that_were_given() -> None:
    reference = Reference.of(card())
    assert reference is not None
    assert (reference.split, reference.images) == ("cross-validated", 767)
    assert reference.labels == pytest.approx(dict(zip(_LABELS, _SHARES, strict=True)), abs=0.001)
    assert (reference.doubtful, reference.unlike, reference.wrong) == (0.4, 0.01, 0.7)
    assert Reference.of({"labels": list(_LABELS)}) is None


def test_weeks_drawn_from_the_card_are_hardly_ever_outside() -> None:
    generator = np.random.default_rng(5)
    found = 0
    for _ in range(400):
        count = int(generator.integers(LEAST_COUNT, 800))
        labels = dict(zip(_LABELS, (int(number) for number in generator.multinomial(count, _SHARES)), strict=True))
        flagged = generator.binomial(count, 0.4) / count
        week = week_of(tally(labels, doubtful=flagged), (int(generator.binomial(count, 0.7)), count))
        found += bool(outside(week))
    assert found <= 8  # of 400 weeks with seven figures each


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        (tally({"avulsion": 100, "greenstick": 60, "spiral": 140}), "answered spiral"),
        (tally({"avulsion": 180, "greenstick": 90, "spiral": 30}, confidence=0.8), "mean confidence"),
        (tally({"avulsion": 180, "greenstick": 90, "spiral": 30}, doubtful=0.9), "doubtful"),
        (tally({"avulsion": 180, "greenstick": 90, "spiral": 30}, unlike=0.2), "perhaps not a radiograph"),
    ],
)
def test_a_shift_is_named_in_a_sentence(changed: Tally, name: str) -> None:
    week = week_of(changed)
    assert name in outside(week)
    said = [sentence for sentence in sentences([week], Reference.of(card())) if name in sentence]
    assert len(said) == 1
    assert "week of 2026-03-02" in said[0]
    assert "of 300" in said[0]


def test_reviewers_who_disagree_more_often_than_the_card_says_are_told() -> None:
    usual = tally({"avulsion": 180, "greenstick": 90, "spiral": 30})
    assert outside(week_of(usual, (70, 100))) == []
    assert outside(week_of(usual, (98, 100))) == ["reviewers disagreed"]


def test_few_answers_are_shown_and_not_judged() -> None:
    week = week_of(tally({"spiral": LEAST_COUNT - 1}))
    assert outside(week) == []
    assert next(figure.value for figure in week.figures if figure.name == "answered spiral") == 1.0


def test_without_figures_on_the_card_nothing_is_expected() -> None:
    weeks = weeks_of(None, {_MONDAY: tally({"spiral": 50}), _MONDAY + timedelta(7): tally({"oblique": 50})}, {})
    assert [outside(week) for week in weeks] == [[], []]
    # The same rows in each week, whatever was answered in it.
    assert [figure.name for figure in weeks[0].figures] == [figure.name for figure in weeks[1].figures]
    assert sentences(weeks, None) == []


def test_page_and_api_show_this_week_beside_the_card(site: Site) -> None:
    page = site.client.get("/drift")
    assert "There is no such answer in these weeks." in page.text
    today = datetime.now(UTC)
    with site.database.transaction() as session:
        session.get_one(ModelVersionRow, 1).card = card()
        record_tally(session, 1, tally({"avulsion": 10, "greenstick": 10, "spiral": 200}), today)
        record_tally(session, 1, tally({"avulsion": 200}), today - timedelta(weeks=30))
    page = site.client.get("/drift")
    assert page.status_code == 200
    assert "answered spiral: 91% of 220" in page.text
    (model,) = site.client.get("/api/v1/drift").json["models"]
    assert [week["week"] for week in model["weeks"]] == [monday_of(today.date()).isoformat()]
    assert model["reference"] == {"split": "cross-validated", "images": 767}
    assert any("answered spiral" in sentence for sentence in model["sentences"])


def test_kinds_are_compared_only_where_a_fracture_is_suspected(site: Site) -> None:
    site.take_in(9)
    site.classify("avulsion", 0.9)
    assert "no model of the binary question is active" in site.client.get("/drift").text
    binary = site.add_model("whether", task="fracture", labels=BINARY)
    for seed, said, kind in (
        (1, "fractured", "spiral"),
        (2, "not-fractured", "greenstick"),
        (3, "fractured", "spiral"),
    ):
        (number,) = site.take_in(seed)
        if seed == 3:  # whichever answers first
            site.classify_only(1, kind, 0.6, _LABELS, ("doubtful",))
        site.classify_only(binary, said, 0.8, BINARY)
        if seed != 3:
            site.classify_only(1, kind, 0.7, _LABELS)
        body = {"kind": "labelled", "label": "avulsion", "reading": 1, "seen": 0}
        assert site.client.post(f"/api/v1/radiographs/{number}/reviews", json=body).status_code in (200, 201)

    models = {model["model"]: model for model in site.client.get("/api/v1/drift").json["models"]}
    (week,) = models["kind/1.0.0"]["weeks"]
    figures = {each["name"]: (each["count"], each["value"]) for each in week["figures"]}

    assert week["answers"] == 2
    assert (figures["answered spiral"], figures["doubtful"]) == ((2, 1.0), (2, 0.5))
    assert figures["mean confidence"] == (2, pytest.approx(0.65))
    assert figures["reviewers disagreed"] == (2, 1.0)
    assert "whether/1.0.0 suspects a fracture" in models["kind/1.0.0"]["compared"]
    assert models["whether/1.0.0"]["weeks"][0]["answers"] == 3
    assert models["kind/1.0.0"]["compared"] in site.client.get("/drift").text


def test_suspected_answers_fall_into_their_weeks_and_older_ones_are_left_out(database: Database, model_id: int) -> None:
    binary = add_model(database, "whether", task="fracture")
    take_in(database, *range(6))
    for model in (binary, model_id):
        taken = claimed(database, model)
        store(database, taken, answered(taken))
    with database.transaction() as session:
        rows = session.scalars(select(PredictionRow).order_by(PredictionRow.id)).all()
        for row in rows[:6]:
            row.label = "fractured" if row.radiograph_id != 5 else "normal"
        for row, day in zip(rows, [0, *[20] * 5, *[20, 20, 21, 27, 28, 28]], strict=True):
            row.created_at = datetime.combine(_MONDAY, datetime.min.time(), UTC) - timedelta(days=21 - day)
    with database.reading() as session:
        found = weekly_suspected(session, model_id, binary, since=_MONDAY - timedelta(weeks=1))
        assert {week: tally.answers for week, tally in found.items()} == {
            _MONDAY - timedelta(weeks=1): 2,
            _MONDAY: 2,
            _MONDAY + timedelta(weeks=1): 1,
        }
        assert list(weekly_suspected(session, model_id, binary, since=_MONDAY)) == [
            _MONDAY,
            _MONDAY + timedelta(weeks=1),
        ]
        assert weekly_suspected(session, model_id, binary, since=_MONDAY + timedelta(weeks=9)) == {}


def test_what_reviewers_said_is_counted_by_week(site: Site) -> None:
    numbers = site.take_in(1, 2, 3)
    site.classify("spiral", 0.9)
    for number, label in zip(numbers, ("spiral", "greenstick", "spiral"), strict=True):
        body = {"kind": "labelled", "label": label, "reading": 1, "seen": 0}
        answer = site.client.post(f"/api/v1/radiographs/{number}/reviews", json=body)
        assert answer.status_code in (200, 201), answer.text
    (model,) = site.client.get("/api/v1/drift").json["models"]
    (week,) = model["weeks"]
    figure = next(each for each in week["figures"] if each["name"] == "reviewers disagreed")
    assert (week["answers"], figure["count"], figure["value"]) == (3, 3, pytest.approx(1 / 3))
