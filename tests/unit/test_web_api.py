from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest

from tests.conftest import draw_radiograph
from tests.unit.web_fixtures import LABELS, Site

API = "/api/v1"


def ids(site: Site, query: str = "") -> list[int]:
    answer = site.client.get(f"{API}/radiographs{query}")
    assert answer.status_code == 200, answer.text
    return [result["id"] for result in answer.json["radiographs"]]


def pages(site: Site, address: str) -> Iterator[list[int]]:
    following: str | None = address
    while following:
        document = site.client.get(following).json
        yield [result["id"] for result in document["radiographs"]]
        following = document["next"]


def test_a_listed_result_has_the_promised_keys(site: Site) -> None:
    site.take_in(1)
    site.classify("spiral", 0.7)

    [result] = site.client.get(f"{API}/radiographs").json["radiographs"]

    promised = "id sha256 name source status label confidence scores prediction_set flags model received_at finished_at"
    assert set(promised.split()) | {"error"} <= set(result)
    assert result["label"] == "spiral"
    assert result["model"] == "kind/1.0.0"
    assert next(iter(result["scores"])) == "spiral"
    assert sum(result["scores"].values()) == pytest.approx(1)


def test_each_filter_finds_what_it_names_and_nothing_else(site: Site) -> None:
    [spiral] = site.take_in(1, name="Left Hand {}.png")
    site.classify("spiral", 0.9)
    [avulsion] = site.take_in(2)
    site.classify("avulsion", 0.4)
    [failed] = site.take_in(3)
    site.fail()
    web = site.upload(("web.png", draw_radiograph(4)), to="/submissions", headers={"Accept": "application/json"}).json
    [waiting] = web["files"][0]["radiographs"]
    digest = site.client.get(f"{API}/radiographs/{failed}").json["sha256"]

    assert ids(site) == [waiting, failed, avulsion, spiral]
    assert ids(site, "?label=spiral") == [spiral]
    assert ids(site, "?min_confidence=0.5") == [spiral]
    assert ids(site, "?max_confidence=0.5") == [avulsion]
    assert ids(site, "?status=failed") == [failed]
    assert ids(site, "?status=waiting&source=web") == [waiting]
    assert ids(site, "?name=left%20hand") == [spiral]
    assert ids(site, "?name=%25") == []
    assert ids(site, f"?sha256={digest}") == [failed]
    assert ids(site, f"?submission={web['submission']}") == [waiting]
    assert ids(site, "?model=kind") == ids(site, "?model=kind/1.0.0") == [waiting, failed, avulsion, spiral]
    assert ids(site, "?label=&status=") == [waiting, failed, avulsion, spiral]


def test_times_are_filtered_in_utc_unless_they_say_otherwise(site: Site) -> None:
    [radiograph] = site.take_in(1)
    earlier, later = (datetime.now(UTC) + timedelta(hours=hours) for hours in (-1, 1))

    assert ids(site, f"?since={quote(earlier.isoformat())}") == [radiograph]
    assert ids(site, f"?since={earlier.isoformat()}") == [radiograph]  # the plus sign arrives as a blank
    assert ids(site, f"?since={later:%Y-%m-%dT%H:%M:%S}") == []
    assert ids(site, f"?until={later:%Y-%m-%dT%H:%M:%SZ}&since=2020-01-01") == [radiograph]


def test_keyset_pages_show_everything_once_and_keep_the_filters(site: Site) -> None:
    taken = site.take_in(*range(7))
    site.classify("spiral")
    others = site.take_in(7, 8)

    found = list(pages(site, f"{API}/radiographs?label=spiral&limit=3"))

    assert [len(page) for page in found] == [3, 3, 1]
    assert sorted(number for page in found for number in page) == sorted(taken)
    assert not set(others) & {number for page in found for number in page}


@pytest.mark.parametrize(("order", "expected"), [("doubt", [3, 1, 4, 2]), ("confidence", [2, 4, 1, 3])])
def test_pages_by_confidence_go_on_where_they_ended(site: Site, order: str, expected: list[int]) -> None:
    for seed, confidence in ((1, 0.5), (2, 0.9), (3, 0.1 + 0.2), (4, 0.5)):
        site.take_in(seed)
        site.classify("spiral", confidence)
    site.take_in(5)

    assert list(pages(site, f"{API}/radiographs?order={order}&limit=1")) == [[number] for number in expected]
    assert list(pages(site, f"{API}/radiographs?order={order}&limit=2&label=spiral")) == [expected[:2], expected[2:]]


def test_filters_by_flag_set_and_review(site: Site) -> None:
    for seed, confidence in ((1, 0.9), (2, 0.3), (3, 0.8)):
        site.take_in(seed)
        site.classify("spiral", confidence)
    for number, label in ((1, "spiral"), (2, "avulsion")):
        assert site.client.post(f"{API}/radiographs/{number}/reviews", json={"label": label}).status_code == 201

    assert ids(site, "?flag=doubtful") == [2]
    assert ids(site, "?in_set=spiral") == [3, 2, 1]
    assert ids(site, "?in_set=avulsion") == []
    assert ids(site, "?reviewed=yes") == [2, 1]
    assert ids(site, "?reviewed=no") == [3]
    assert ids(site, "?agreed=yes") == [1]
    assert ids(site, "?agreed=no") == [2]


def test_the_last_full_page_has_no_next(site: Site) -> None:
    site.take_in(1, 2)

    assert site.client.get(f"{API}/radiographs?limit=2").json["next"] is None


def test_new_radiographs_do_not_shift_the_pages(site: Site) -> None:
    first = site.take_in(1, 2, 3)
    listing = pages(site, f"{API}/radiographs?limit=2")
    seen = next(listing)
    site.take_in(4, 5)

    assert sorted([*seen, *next(listing)]) == sorted(first)


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("limit=ten", "limit"),
        ("limit=%D9%A1", "limit"),  # a digit of another script
        ("limit=1&limit=2", "limit"),
        (f"before_id={'9' * 5000}", "before_id"),
        ("before_id=9223372036854775808", "before_id"),
        ("before_id=-1", "before_id"),
        ("min_confidence=nan", "min_confidence"),
        ("min_confidence=1.1", "min_confidence"),
        ("max_confidence=high", "max_confidence"),
        ("status=finished", "status"),
        ("source=email", "source"),
        ("since=yesterday", "since"),
        ("until=0001-01-01T00:00:00%2B23:00", "until"),
        ("sha256=abc", "sha256"),
        ("label=a%00b", "label"),
        (f"name={'x' * 1025}", "name"),
        ("name=%1F", "name"),  # a blank to Python, a control character to everybody else
        ("name=%C2%85", "name"),
        ("submission=99999999999999999999", "submission"),
        ("lable=spiral", "lable"),
        ("order=oldest", "order"),
        ("after=0.5", "after"),
        ("after=nan,1", "after"),
        ("reviewed=maybe", "reviewed"),
    ],
)
def test_a_bad_parameter_is_400_with_a_sentence_that_names_it(site: Site, query: str, named: str) -> None:
    answer = site.client.get(f"{API}/radiographs?{query}")

    assert answer.status_code == 400
    assert answer.json["code"] == "bad-parameter"
    assert named in answer.json["detail"]


def test_an_unknown_model_is_404(site: Site) -> None:
    answer = site.client.get(f"{API}/radiographs?model=oracle")

    assert answer.status_code == 404
    assert "known: kind/1.0.0" in answer.json["detail"]


@pytest.mark.parametrize("number", ["7", "0", "9223372036854775808", "9" * 5000, "-1", "one", "%D9%A1", "1%00"])
@pytest.mark.parametrize("address", ["/radiographs/{}", "/radiographs/{}/image.png", "/submissions/{}"])
def test_an_unknown_number_is_404(site: Site, address: str, number: str) -> None:
    answer = site.client.get(API + address.format(number))

    assert answer.status_code == 404
    assert answer.mimetype == "application/problem+json"


def test_one_radiograph_carries_every_models_answer_and_every_arrival(site: Site) -> None:
    [number] = site.take_in(1)
    site.classify("spiral", 0.7)
    binary = site.add_model("broken", task="fracture", labels=("fractured", "not-fractured"))
    site.upload(("again.png", draw_radiograph(1)), to="/submissions")
    site.classify("fractured", 0.9, labels=("fractured", "not-fractured"))

    document = site.client.get(f"{API}/radiographs/{number}").json

    assert (document["label"], document["status"]) == ("spiral", "done")
    assert [(model["model"], model["label"]) for model in document["models"]] == [
        ("broken/1.0.0", "fractured"),
        ("kind/1.0.0", "spiral"),
    ]
    assert {model["engine"] for model in document["models"]} == {"litert"}
    assert all(len(model["card_sha256"]) == 64 for model in document["models"])
    assert [(arrival["name"], arrival["source"]) for arrival in document["arrivals"]] == [
        ("hand 1.png", "api"),
        ("again.png", "web"),
    ]
    assert binary == 2
    other = site.client.get(f"{API}/radiographs/{number}?model=broken").json
    assert other["label"] == "fractured"


def test_a_failed_radiograph_is_retried_with_a_clean_record_and_announced(site: Site) -> None:
    [number] = site.take_in(1)
    site.fail("unreadable", "It is cut off.")
    assert site.client.get(f"{API}/radiographs/{number}").json["error"] == {
        "code": "unreadable",
        "words": "It is cut off.",
    }

    answer = site.client.post(f"{API}/radiographs/{number}/retry")

    assert answer.status_code == 202
    assert len(answer.json["jobs"]) == 1
    assert site.rung == [1, 1]
    again = site.client.get(answer.json["url"]).json
    assert (again["status"], again["error"], again["models"][0]["attempts"]) == ("waiting", None, 0)


def test_a_retry_while_the_broker_is_away_waits_in_the_database(site: Site) -> None:
    [number] = site.take_in(1)
    site.fail()
    site.broker_away = True

    assert site.client.post(f"{API}/radiographs/{number}/retry").status_code == 202
    assert site.claim() is not None


def test_nothing_to_retry_is_409_and_nobody_to_retry_404(site: Site) -> None:
    [number] = site.take_in(1)

    assert site.client.post(f"{API}/radiographs/{number}/retry").status_code == 409
    assert site.client.post(f"{API}/radiographs/999/retry").status_code == 404


def test_a_submission_is_followed_until_all_its_files_have_ended(site: Site) -> None:
    document = site.upload(("a.png", draw_radiograph(1)), ("b.txt", b"?"), ("c.png", draw_radiograph(2))).json
    assert document["unfinished"] == 2

    site.classify("avulsion", 0.45)
    document = site.client.get(document["url"]).json

    assert document["unfinished"] == 0
    assert [file["status"] for file in document["files"]] == ["accepted", "rejected", "accepted"]
    assert document["files"][0]["results"][0]["label"] == "avulsion"
    assert document["files"][0]["results"][0]["flags"] == ["doubtful"]


def test_an_unchanged_answer_is_304(site: Site) -> None:
    url = site.upload(("a.png", draw_radiograph(1))).json["url"]
    tag = site.client.get(url).headers["ETag"]

    assert site.client.get(url, headers={"If-None-Match": tag}).status_code == 304
    site.classify()
    assert site.client.get(url, headers={"If-None-Match": tag}).status_code == 200


def test_models_are_listed_with_their_cards(site: Site) -> None:
    [model] = site.client.get(f"{API}/models").json["models"]

    assert (model["name"], model["version"], model["active"], model["installed"]) == ("kind", "1.0.0", True, True)
    assert model["labels"] == list(LABELS)


def test_the_queue_has_the_promised_figures(site: Site) -> None:
    site.take_in(1, 2)
    site.claim()
    site.take_in(3)
    site.upload(("bad.png", b"bad"))

    figures = site.client.get(f"{API}/queue").get_json()

    expected: dict[str, Any] = {"waiting": 1, "running": 2, "done": 0, "failed": 0, "rejected": 1, "workers": []}
    assert {key: figures[key] for key in expected} == expected
    assert {"quarantined", "cancelled", "oldest_waiting_seconds", "images_per_second"} <= set(figures)


def test_the_wrong_method_is_405_and_says_which_are_right(site: Site) -> None:
    answer = site.client.delete(f"{API}/radiographs")

    assert answer.status_code == 405
    assert "POST" in answer.headers["Allow"]
    assert answer.json["status"] == 405


def test_a_bug_is_a_500_that_tells_nothing_of_the_inside(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("web.api.figures_now", broken)

    answer = site.client.get(f"{API}/queue")

    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
