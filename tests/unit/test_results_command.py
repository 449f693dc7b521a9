"""`results` and `classify` where two models answer: whether a fracture is suspected comes first."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.commands.classify import classify
from cli.commands.results import results
from core.bundle import Bundle
from tests.conftest import draw_radiograph
from tests.fakes import FakeClassifier, make_card, write_bundle
from tests.unit.web_fixtures import Site

BINARY = ("fractured", "not-fractured")


@pytest.fixture
def answered(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """One radiograph in which no fracture is suspected, one in which one is."""
    monkeypatch.setenv("FRACTURE_HOME", str(site.settings.home))
    site.add_model("broken", task="fracture", labels=BINARY)
    for seed, label, confidence in ((1, "not-fractured", 0.9), (2, "fractured", 0.4)):
        site.take_in(seed)
        site.classify_only(2, label, confidence, BINARY)
        site.classify("spiral", 0.7)
    return site


def test_the_table_shows_the_suspicion_before_the_kind(answered: Site) -> None:
    text = CliRunner(env={"COLUMNS": "120"}).invoke(results, [], catch_exceptions=False).output
    lines = {line.split()[1] + line.split()[2]: line for line in text.splitlines() if "hand" in line}
    assert "no 0.10" in lines["hand1.png"]
    assert "(spiral)" in lines["hand1.png"]
    assert "yes 0.40" in lines["hand2.png"]
    assert " spiral " in lines["hand2.png"]


def test_the_table_marks_which_question_is_unsure(answered: Site) -> None:
    answered.take_in(3, 4)
    answered.classify_only(2, "fractured", 0.5, BINARY, ("doubtful",))
    answered.classify("spiral", 0.4)
    text = CliRunner(env={"COLUMNS": "80"}).invoke(results, [], catch_exceptions=False).output
    lines = {line.split()[1] + line.split()[2]: line for line in text.splitlines() if "hand" in line}
    assert "yes 0.50?" in lines["hand3.png"]
    assert " 0.40? " in lines["hand3.png"]
    assert "?" not in lines["hand1.png"]
    assert "? unsure whether fractured (at Fracture), unsure which kind (at Conf.)" in text
    sure = CliRunner(env={"COLUMNS": "80"}).invoke(results, ["--submission", "1"], catch_exceptions=False).output
    assert "unsure" not in sure


def test_json_and_csv_carry_it_in_keys_of_its_own(answered: Site) -> None:
    document = json.loads(CliRunner().invoke(results, ["--format", "json"], catch_exceptions=False).output)
    assert [(each["label"], each["fracture"]["label"]) for each in document] == [
        ("spiral", "fractured"),
        ("spiral", "not-fractured"),
    ]
    text = CliRunner().invoke(results, ["--format", "csv"], catch_exceptions=False).output
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(row["fracture_label"], float(row["fracture_probability"])) for row in rows] == [
        ("fractured", pytest.approx(0.4)),
        ("not-fractured", pytest.approx(0.1)),
    ]
    assert rows[0]["fracture_model"] == "broken/1.0.0"
    assert {"avulsion", "greenstick", "spiral"} < set(rows[0])


def test_classify_asks_the_binary_question_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRACTURE_MODELS", str(tmp_path / "models"))
    write_bundle(tmp_path / "models")
    write_bundle(tmp_path / "models", name="whether", task="fracture", labels=list(BINARY))
    monkeypatch.setattr(
        "cli.commands.classify.load_classifier", lambda bundle, engine: FakeClassifier(Bundle.open(bundle.folder).card)
    )
    (tmp_path / "wrist.png").write_bytes(draw_radiograph(1))
    (tmp_path / "text.png").write_text("no picture")

    text = CliRunner().invoke(classify, [str(tmp_path / "wrist.png")], catch_exceptions=False).output
    first, second = text.splitlines()
    assert first.startswith("wrist.png: no fracture suspected, probability 0.")
    assert "whether/1.0.0" in first
    assert second.startswith("wrist.png: if fractured: spiral 0.")

    answer = CliRunner().invoke(classify, [str(tmp_path / "wrist.png"), str(tmp_path / "text.png"), "--json"])
    assert answer.exit_code == 1
    entries = json.loads(answer.stdout)
    assert [(entry["name"], entry["task"]) for entry in entries] == [
        ("wrist.png", "fracture"),
        ("wrist.png", "fracture-type"),
        ("text.png", "fracture"),
        ("text.png", "fracture-type"),
    ]
    assert make_card().labels == tuple(entries[1]["scores"])
