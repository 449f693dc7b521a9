from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from core.records.fractures import fracture_probability
from tests.conftest import draw_radiograph
from tests.unit.web_fixtures import Site
from web.words import PURPOSE, byte_size, chance_words, duration, label_words, listed, percent


class Page(HTMLParser):
    """What a test asks of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for found, attributes in self.tags if found == tag]


@pytest.fixture
def filled(site: Site) -> Site:
    """A site with a radiograph in each state that a page shows differently."""
    site.take_in(1)
    site.classify("spiral", 0.7)
    site.take_in(2)
    site.fail("decode-bug", "It broke.")
    site.take_in(3)
    return site


BINARY = ("fractured", "not-fractured")
ADDRESSES = ["/", "/results", "/radiographs/1", "/radiographs/2", "/radiographs/3", "/submissions/1", "/queue"]


@pytest.mark.parametrize("address", [*ADDRESSES, "/radiographs/999", "/nowhere"])
def test_every_page_says_what_it_is_not(filled: Site, address: str) -> None:
    assert PURPOSE in filled.client.get(address).text


@pytest.mark.parametrize("address", [*ADDRESSES, "/results?label=spiral&name=hand", "/nowhere"])
def test_every_page_has_landmarks_labels_and_nothing_inline(filled: Site, address: str) -> None:
    text = filled.client.get(address).text
    page = Page(text)

    assert page.all("html") == [{"lang": "en"}]
    assert len(page.all("main")) == len(page.all("h1")) == len(page.all("header")) == 1
    assert page.all("nav")
    labelled = {label.get("for") for label in page.all("label")}
    for control in [*page.all("select"), *page.all("input")]:
        assert control.get("type") == "hidden" or control["id"] in labelled
    assert all("alt" in image for image in page.all("img"))
    identifiers = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    assert not page.all("style")
    assert all("src" in script for script in page.all("script"))
    assert not any(name == "style" or name.startswith("on") for _, attributes in page.tags for name in attributes)
    addresses = [attributes.get(kind) or "" for _, attributes in page.tags for kind in ("href", "src", "action")]
    assert not any(re.match(r"[a-z]+:|//", place) for place in addresses), "nothing comes from outside"


def test_the_upload_page_states_the_limits(site: Site) -> None:
    text = site.client.get("/").text

    assert "at most 100 MiB each and 1000 at once" in text
    assert 'enctype="multipart/form-data"' in text


def test_the_results_page_lists_answers_and_troubles(filled: Site) -> None:
    text = filled.client.get("/results").text

    assert "Spiral" in text
    assert "70 %" in text
    assert "It broke." in text
    assert "Waiting in the queue" in text
    assert "/api/v1/radiographs/1/image.png?size=128" in text


def test_filters_stay_in_the_form_and_in_the_links(site: Site) -> None:
    site.take_in(*range(52))
    site.classify("spiral", 0.7)

    text = site.client.get("/results?label=spiral&min_confidence=0.66&name=hand").text

    assert '<option value="spiral" selected>Spiral</option>' in text
    assert '<option value="0.66" selected>0.66</option>' in text
    assert 'value="hand"' in text
    [older] = [link["href"] or "" for link in Page(text).all("a") if link.get("rel") == "next"]
    assert {"label=spiral", "min_confidence=0.66", "name=hand"} < set(older.partition("?")[2].split("&"))
    last = site.client.get(older).text
    assert len(re.findall(r'<li class="row">', last)) == 2
    assert "These are the oldest." in last


def test_an_empty_list_says_why_it_is_empty(site: Site) -> None:
    assert "There are no radiographs yet." in site.client.get("/results").text

    site.take_in(1)
    assert "Nothing fits these filters." in site.client.get("/results?label=spiral").text


def test_a_bad_filter_is_a_page_with_a_sentence(site: Site) -> None:
    answer = site.client.get("/results?min_confidence=lots")

    assert answer.status_code == 400
    assert "The parameter min_confidence is not a number from 0 to 1." in answer.text


def test_a_radiograph_shows_bars_model_and_timings(filled: Site) -> None:
    text = filled.client.get("/radiographs/1").text

    assert [bar["value"] for bar in Page(text).all("meter")] == ["0.7000", "0.1500", "0.1500"]
    for fact in ("The kind model", "kind/1.0.0", "litert", "Decoded in", "Inferred in", "1 attempt", "hand 1.png"):
        assert fact in text
    assert "Says kind/1.0.0, with the engine litert." in text
    assert "Try again" not in text
    assert "data-live" not in text


def test_how_likely_a_fracture_comes_first(site: Site) -> None:
    site.add_model("broken", task="fracture", labels=("fractured", "not-fractured"))
    site.take_in(1)
    claim = site.claim(1)
    assert claim is not None
    site.classify("not-fractured", 0.94, labels=("fractured", "not-fractured"))

    text = site.client.get("/radiographs/1").text

    first, second = re.findall(r"<article.*?</article>", text, flags=re.S)
    assert "How likely a fracture" in first
    assert '<span class="label">6 %</span>' in first
    assert "Kind of fracture" in second
    assert "Being classified" in second
    assert "data-live" in text


@pytest.fixture
def both(site: Site) -> Site:
    """A radiograph that the binary model has answered and one where only the kind is known, and a fractured one."""
    site.take_in(1)
    site.classify("avulsion", 0.6)
    site.add_model("broken", task="fracture", labels=BINARY)
    for seed, fracture in ((2, 0.06), (3, 0.8)):
        site.take_in(seed)
        site.classify_only(2, "fractured" if fracture > 0.5 else "not-fractured", max(fracture, 1 - fracture), BINARY)
        site.classify("spiral", 0.7)
    return site


def test_a_list_says_first_whether_a_fracture_is_suspected(both: Site) -> None:
    for address in ("/results", "/submissions/2", "/submissions/3"):
        rows = re.findall(r'<li class="row">.*?</li>', both.client.get(address).text, flags=re.S)
        by_name = {re.search(r"hand \d", row)[0]: re.sub(r"<[^>]*>|\s+", " ", row) for row in rows}
        words = {name: " ".join(text.split()) for name, text in by_name.items()}
        if "hand 1" in words:
            assert "suspected" not in words["hand 1"]
            assert "Avulsion 60 %" in words["hand 1"]
        if "hand 2" in words:
            assert "No fracture suspected fracture 6 % if fractured: Spiral 70 %" in words["hand 2"]
        if "hand 3" in words:
            assert re.search(r"(?<!No )Fracture suspected fracture 80 % Spiral 70 %", words["hand 3"])


def test_a_list_says_which_question_is_unsure(both: Site) -> None:
    both.take_in(4)
    both.classify_only(2, "fractured", 0.5, BINARY, ("doubtful",))
    both.classify("spiral", 0.7)
    both.take_in(5)
    both.classify_only(2, "fractured", 0.9, BINARY)
    both.classify("spiral", 0.3)
    rows = re.findall(r'<li class="row">.*?</li>', both.client.get("/results").text, flags=re.S)
    told = {re.search(r"hand \d", row)[0]: re.findall(r'class="flag">([^<]*)', row) for row in rows}
    assert (told["hand 3"], told["hand 4"], told["hand 5"]) == (
        [],
        ["Unsure whether fractured."],
        ["Unsure which kind."],
    )


def test_a_kind_is_secondary_where_no_fracture_is_suspected(both: Site) -> None:
    first, second = re.findall(r"<article.*?</article>", both.client.get("/radiographs/2").text, flags=re.S)
    assert "No fracture suspected" in first
    assert "If it is fractured: kind" in second
    assert "names one for every picture" in second
    first, second = re.findall(r"<article.*?</article>", both.client.get("/radiographs/3").text, flags=re.S)
    assert "No fracture suspected" not in first
    assert "Fracture suspected" in first
    assert "Kind of fracture" in second
    assert "names one for every picture" not in second


def test_a_fracture_suspected_below_one_half_is_shown_as_the_model_decides(site: Site) -> None:
    site.add_model("broken", task="fracture", labels=BINARY)
    site.take_in(1)
    site.classify_only(2, "fractured", 0.2, BINARY)
    text = site.client.get("/results").text
    assert "Fracture suspected" in text
    assert "fracture 20 %" in text
    assert "Waiting in the queue" in text


def test_a_submission_is_unfinished_until_both_models_have_answered(site: Site) -> None:
    site.add_model("broken", task="fracture", labels=BINARY)
    site.take_in(1)
    site.classify_only(1, "spiral", 0.7, ("avulsion", "greenstick", "spiral"))
    document = site.client.get("/api/v1/submissions/1").json
    assert document["unfinished"] == 1
    [result] = document["files"][0]["results"]
    assert (result["status"], result["unfinished"]) == ("done", True)
    assert "Not all models have answered yet." in site.client.get("/results").text
    assert "data-live" in site.client.get("/submissions/1").text
    site.classify_only(2, "not-fractured", 0.9, BINARY)
    assert site.client.get("/api/v1/submissions/1").json["unfinished"] == 0
    assert "data-live" not in site.client.get("/submissions/1").text


def test_the_json_carries_the_binary_answer_beside_the_kind(both: Site) -> None:
    listed = {each["id"]: each for each in both.client.get("/api/v1/radiographs").json["radiographs"]}
    assert listed[1]["fracture"] is None
    assert listed[2]["label"] == "spiral"
    assert listed[2]["fracture"] == {
        "probability": pytest.approx(0.06),
        "label": "not-fractured",
        "model": "broken/1.0.0",
        "flags": [],
    }
    assert both.client.get("/api/v1/radiographs/3").json["fracture"]["probability"] == pytest.approx(0.8)
    [file] = both.client.get("/api/v1/submissions/2").json["files"]
    assert file["results"][0]["fracture"]["label"] == "not-fractured"
    alone = both.client.get("/api/v1/radiographs?model=broken").json["radiographs"]
    assert [each["label"] for each in alone] == ["fractured", "not-fractured", None]


def test_a_failed_radiograph_says_why_and_is_retried_without_javascript(filled: Site) -> None:
    assert "It broke." in filled.client.get("/radiographs/2").text

    answer = filled.client.post("/radiographs/2/retry")

    assert answer.status_code == 303
    text = filled.client.get(answer.headers["Location"]).text
    answers, _, history = text.partition('id="history"')
    assert "Waiting in the queue" in answers
    assert "It broke." not in answers
    assert "It broke." in history
    assert '<noscript><meta http-equiv="refresh"' in text


def test_pressing_retry_twice_does_no_harm(filled: Site) -> None:
    filled.client.post("/radiographs/2/retry")

    assert filled.client.post("/radiographs/2/retry").status_code == 303
    assert filled.client.post("/radiographs/999/retry").status_code == 404


def test_a_damaged_picture_is_not_shown_as_a_broken_image(site: Site) -> None:
    site.take_in(1)
    site.fail("unreadable", "It is cut off.")

    text = site.client.get("/radiographs/1").text

    assert not Page(text).all("img")
    assert "This picture cannot be shown" in text


def test_an_inactive_models_answer_is_kept_apart(site: Site) -> None:
    from core.records.models import set_active

    site.take_in(1)
    site.classify("avulsion", 0.6)
    site.add_model("newer")
    with site.database.transaction() as session:
        set_active(session, "kind", active=False, actor="test")
    site.upload(("again.png", draw_radiograph(1)))
    site.classify("spiral", 0.9)

    text = site.client.get("/radiographs/1").text

    assert text.index("Spiral") < text.index("Answers of other models") < text.index("60 %")


def test_the_queue_page_counts_and_warns_when_nobody_works(filled: Site) -> None:
    text = filled.client.get("/queue").text

    assert re.search(r'<span class="count" data-figure="waiting">1</span> <span>Waiting in the queue</span>', text)
    assert "No worker is running." in text


def test_the_queue_page_names_the_living_workers(filled: Site) -> None:
    from core.records.workers import Identity, beat

    with filled.database.transaction() as session:
        beat(session, Identity("worker", "ward-7", 41), engine="litert", holds=2)

    text = filled.client.get("/queue").text

    assert "worker@ward-7:41" in text
    assert "No worker is running." not in text


def test_probabilities_are_never_written_as_certainties() -> None:
    assert [percent(share) for share in (0, 0.004, 0.0101, 0.5, 0.99, 0.9999, 1)] == [
        "< 1 %",
        "< 1 %",
        "1 %",
        "50 %",
        "99 %",
        "> 99 %",
        "> 99 %",
    ]


def test_chances_are_shares_of_ten_and_never_certain() -> None:
    shares = (0, 0.009, 0.01, 0.049, 0.05, 0.149, 0.15, 0.5, 0.649, 0.65, 0.7, 0.949, 0.95, 0.951, 0.99, 0.991, 1)
    assert [chance_words(share) for share in shares] == [
        *["less than 1 in 100"] * 2,
        *["less than 1 in 20"] * 2,
        *["about 1 in 10"] * 2,
        "about 2 in 10",
        "about 5 in 10",
        "about 6 in 10",
        *["about 7 in 10"] * 2,
        *["about 9 in 10"] * 2,
        *["more than 19 in 20"] * 2,
        *["more than 99 in 100"] * 2,
    ]
    assert [listed(words) for words in ([], ["A"], ["A", "B"], ["A", "B", "C"])] == ["", "A", "A and B", "A, B and C"]


def test_words_for_numbers_and_labels() -> None:
    assert [duration(each) for each in (12, 1500, 90_000, 8_000_000, 400_000_000)] == [
        "12 ms",
        "1.5 s",
        "2 min",
        "2 h",
        "5 days",
    ]
    assert [byte_size(each) for each in (5, 2048, 100 * 2**20, 3 * 2**19)] == ["5 bytes", "2 KiB", "100 MiB", "1.5 MiB"]
    assert label_words("fracture-dislocation") == "Fracture dislocation"
    assert fracture_probability({"fractured": 0.2, "not-fractured": 0.8}) == 0.2
