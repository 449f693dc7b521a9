"""An evaluation in its three written forms, from answers made up here."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from core.answers import answers
from core.bundle import Bundle, ModelCard
from core.engines.outputs import Outputs
from core.errors import ConfigurationError
from tests.fakes import write_bundle
from training.evaluate import Evaluation, Without, check_columns, figures_by, leave_out, split_facts
from training.judged import Judged, all_figures
from training.plots import choose_samples
from training.report import STATEMENT, Report, evaluation_report
from training.report_formats import as_html, as_markdown, as_text
from training.sample import Sample

LABELS = ["fractured", "not-fractured"]
SECTIONS: dict[str, Any] = {
    "labels": LABELS,
    "task": "fracture",
    "title": "<b>bold</b>",
    "decision": {"label": "fractured", "threshold": 0.2},
    "conformal": {"threshold": 0.1, "coverage": 0.9, "size_from_frequencies": {"fixed": 2, "randomised": 1.4}},
    "doubt": {"low": 0.1, "high": 0.5},
    "outlier": {"threshold": 1.0},
}


def evaluation(card: ModelCard, *, by: str | None = None) -> Evaluation:
    generator = np.random.default_rng(0)
    count = 60
    fractured = generator.random(count)
    targets = (generator.random(count) > fractured).astype(np.int64)
    samples = tuple(
        Sample(
            path=Path(f"{index}.png"),
            label=LABELS[target],
            split="test",
            cluster=f"c{index // 2}",
            sha256=f"{index:064x}",
            facts={"region": ("hand", "leg|foot")[index % 2], "hardware": str(int(index % 10 == 0))},
        )
        for index, target in enumerate(targets)
    )
    outputs = Outputs(np.stack([fractured, 1 - fractured], axis=1), generator.random(count) * 1.1)
    given = [answer for answer in answers(outputs, card) if answer]
    judged = Judged.of(given, card, targets, [sample.cluster for sample in samples])
    figures = {**split_facts("test", samples), **all_figures(judged, card)}
    if by:
        figures["by"] = {"column": by, "groups": figures_by(judged, samples, by)}
    images = generator.integers(0, 255, (count, 32, 32, 1)).astype(np.uint8)
    return Evaluation(judged, samples, images, figures, {"decode": 1.0, "network": 2.0})


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return Bundle.open(write_bundle(tmp_path, **SECTIONS))


@pytest.fixture
def report(bundle: Bundle) -> Report:
    return evaluation_report(bundle, "litert", evaluation(bundle.card, by="region"), pictures=True)


def test_the_figures_hold_everything_and_nothing_that_json_lacks(bundle: Bundle) -> None:
    found = evaluation(bundle.card).figures
    assert {"sensitivity", "specificity", "roc_auc", "ece", "ece_if_perfect", "confidence_gap", "brier"} <= set(found)
    assert found["ece_if_perfect"]["mean"] < found["ece_if_perfect"]["percentile_95"]
    sets = found["prediction_sets"]
    low, high = sets["coverage_interval_95_binomial"]
    assert low < sets["coverage"] < high or sets["coverage"] == high == 1
    assert 1 <= sets["mean_size"] <= 2
    assert found["intervals_95"]["set_coverage"][0] <= sets["coverage"]
    assert 0 < found["needs_a_human"]["share"] < 1
    assert 0 < found["unlike_radiographs"]["share"] < 0.3
    assert found == evaluation(bundle.card).figures


def test_text_holds_the_figures_and_the_statement(report: Report) -> None:
    text = as_text(report)
    for words in (STATEMENT, "ROC AUC", "sensitivity", "leg|foot", "Flagged for a person", "macro mean", "Time"):
        assert words in text
    assert "drawn" not in text


class Links(HTMLParser):
    """Collects what a page would load."""

    def __init__(self) -> None:
        super().__init__()
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.sources += [value or "" for name, value in attrs if name in ("src", "href", "srcset")]


def test_html_is_one_page_that_loads_nothing(report: Report) -> None:
    page = as_html(report)
    links = Links()
    links.feed(page)
    assert len(links.sources) == 5  # confusion, reliability, confidence, ROC, samples
    assert all(source.startswith("data:image/png;base64,") for source in links.sources)
    assert "<script" not in page and "url(" not in page and "@import" not in page
    assert STATEMENT in page and "prefers-color-scheme: dark" in page
    for source in links.sources:
        Image.open(io.BytesIO(base64.b64decode(source.split(",")[1]))).verify()


def test_what_comes_from_outside_is_escaped(bundle: Bundle) -> None:
    result = evaluation(bundle.card)
    groups = {"<script>alert(1)</script>|x": figures_by(result.judged, result.samples, "region")["hand"]}
    result.figures["by"] = {"column": "region", "groups": groups}
    made = evaluation_report(bundle, "litert", result, pictures=False)
    assert "<script>" not in as_html(made)
    assert "&lt;script&gt;alert(1)" in as_html(made)
    (row,) = [line for line in as_markdown(made).splitlines() if "alert" in line]
    assert r"\<script>alert(1)\</script>\|x" in row


def test_markdown_carries_its_pictures(report: Report) -> None:
    written = as_markdown(report)
    assert len(re.findall(r"!\[[^\]]+\]\(data:image/png;base64,[A-Za-z0-9+/=]+\)", written)) == 5
    assert STATEMENT in written


def test_samples_are_right_and_wrong_ones_and_always_the_same() -> None:
    hits = np.arange(100) % 3 > 0
    chosen = choose_samples(hits)
    assert len(chosen) == 12 and hits[chosen].sum() == 6
    assert (chosen == choose_samples(hits)).all()
    assert len(choose_samples(np.ones(100, dtype=bool))) == 12
    assert len(choose_samples(np.array([True, False, True]))) == 3


def test_images_are_left_out_by_a_column(bundle: Bundle) -> None:
    samples = evaluation(bundle.card).samples
    staying, counted = leave_out(samples, [Without.parse("hardware=1")])
    assert (len(staying), counted) == (54, [{"column": "hardware", "value": "1", "images": 6}])
    with pytest.raises(ConfigurationError, match=r"no column 'plates'; they have hardware, region"):
        leave_out(samples, [Without.parse("plates=1")])
    with pytest.raises(ConfigurationError, match="Nothing is left"):
        leave_out(samples, [Without.parse("hardware=1"), Without.parse("hardware=0")])
    with pytest.raises(ConfigurationError, match="takes COLUMN=VALUE"):
        Without.parse("hardware")
    with pytest.raises(ConfigurationError, match="no column 'age'"):
        check_columns(samples, ["age"])


def test_groups_have_their_own_figures(bundle: Bundle) -> None:
    result = evaluation(bundle.card, by="region")
    groups = result.figures["by"]["groups"]
    assert {name: group["images"] for name, group in groups.items()} == {"hand": 30, "leg|foot": 30}
    for group in groups.values():
        low, high = group["intervals_95"]["roc_auc"]
        assert low <= group["roc_auc"] <= high
        assert sum(group["per_class_images"].values()) == 30
