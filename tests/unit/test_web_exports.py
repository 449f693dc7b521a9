"""The filtered list as a file."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.conftest import draw_radiograph, wait_until
from tests.unit.web_fixtures import LABELS, Site, left_to_the_collector


@pytest.fixture
def answered(site: Site) -> Site:
    """Three radiographs, the second of which has failed."""
    site.upload(("=cmd|' /C calc'!A0.png", draw_radiograph(1)))
    site.classify("spiral", 0.9)
    site.take_in(2)
    site.fail()
    site.take_in(3)
    site.classify("avulsion", 0.4)
    return site


def rows(site: Site, query: str = "") -> list[dict[str, Any]]:
    answer = site.client.get(f"/results/export.csv{query}")
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.text)))


def test_every_form_holds_the_same_results(answered: Site) -> None:
    found = rows(answered)
    assert [(row["id"], row["label"], row["status"]) for row in found] == [
        ("3", "avulsion", "done"),
        ("2", "", "failed"),
        ("1", "spiral", "done"),
    ]
    assert float(found[2]["spiral"]) == pytest.approx(0.9)
    assert set(LABELS) < set(found[0])
    document = json.loads(answered.client.get("/results/export.json").data)
    assert [each["id"] for each in document] == [3, 2, 1]
    listed = {**answered.client.get("/api/v1/radiographs").json["radiographs"][0]}
    del listed["url"]
    assert document[0] == listed
    answer = answered.client.get("/results/export.parquet")
    assert answer.headers["Content-Disposition"].endswith('.parquet"')
    table = pq.read_table(io.BytesIO(answer.data))
    assert table.column("id").to_pylist() == [3, 2, 1]
    assert dict(table.column("scores").to_pylist()[0])["avulsion"] == pytest.approx(0.4)


def test_a_heading_has_every_label_even_if_the_newest_has_no_answer(answered: Site) -> None:
    answered.take_in(4)
    answered.fail()
    assert set(LABELS) < set(rows(answered)[0])
    assert set(LABELS) < set(next(csv.reader(io.StringIO(answered.client.get("/results/export.csv?label=x").text))))


def test_names_are_no_formulas(answered: Site) -> None:
    assert rows(answered)[2]["name"].startswith("'=cmd")


def test_filters_of_the_page_are_those_of_the_file(answered: Site) -> None:
    answered.client.post("/api/v1/radiographs/1/reviews", json={"label": "spiral"})
    assert [row["id"] for row in rows(answered, "?label=spiral")] == ["1"]
    assert [row["id"] for row in rows(answered, "?status=failed&source=api")] == ["2"]
    assert [row["id"] for row in rows(answered, "?reviewed=no&max_confidence=0.5&flag=doubtful")] == ["3"]
    assert [row["id"] for row in rows(answered, "?agreed=yes&since=2020-01-01&in_set=spiral")] == ["1"]
    assert rows(answered, "?name=--help") == []
    page = answered.client.get("/results?label=spiral&order=doubt").text
    assert "/results/export.csv?label=spiral" in page


def test_what_cannot_be_exported_is_said(answered: Site) -> None:
    assert answered.client.get("/results/export.csv?model=oracle").status_code == 404
    assert answered.client.get("/results/export.csv?min_confidence=2").status_code == 400
    assert answered.client.get("/results/export.pdf").status_code == 404


def test_a_reader_who_goes_away_ends_the_child(answered: Site) -> None:
    before = children()
    with left_to_the_collector():
        answer = answered.client.get("/results/export.json", buffered=False)
        next(iter(answer.response))
        answer.close()
    wait_until(lambda: children() <= before, within_seconds=30, what="the child has ended")


def test_who_asks_only_for_the_head_leaves_no_child_behind(answered: Site) -> None:
    before = children()
    answer = answered.client.head("/results/export.json")
    answer.close()
    assert answer.status_code == 200
    wait_until(lambda: children() <= before, within_seconds=30, what="the child has ended")


def children() -> set[str]:
    return set(Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split())
