"""`/metrics`: what the database knows, in Prometheus' words, and no names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import update

from core.database import now
from core.records.workers import Identity, beat, beat_main
from core.tables import Role, WorkerRow
from tests.conftest import PROJECT
from tests.unit.web_fixtures import Site

MONITORING = PROJECT / "docs" / "monitoring"


def metrics(site: Site) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    answer = site.client.get("/metrics")
    assert answer.status_code == 200
    assert answer.content_type.startswith("text/plain; version=")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def value(found: dict[Any, float], name: str, **labels: str) -> float | None:
    return found.get((name, frozenset(labels.items())))


@pytest.fixture
def busy(site: Site) -> Iterator[Site]:
    """Two answers, one failure, one that waits, one refusal; a worker that is idle and one that died."""
    site.take_in(1, 2, name="Miller^Anna {}.png")
    site.classify("spiral", 0.4)
    site.take_in(3)
    site.fail("damaged")
    site.upload(("notes.txt", b"no picture"))
    site.take_in(4)
    main = Identity("main", "elsewhere", 1)
    with site.database.transaction() as session:
        beat(session, Identity("inbox", "elsewhere", 3), engine="", holds=12)
        beat(session, Identity("worker", "elsewhere", 2), engine="litert", idle_seconds=1.0, main=main)
        beat_main(session, main, children={}, turned_seconds_ago=0.1, connected=True, prefetched=0)
        beat(session, Identity("worker", "gone", 4), engine="litert")
        long_ago = now(session) - timedelta(minutes=5)
        session.execute(update(WorkerRow).where(WorkerRow.host == "gone").values(seen_at=long_ago))
    yield site


def test_the_queue_and_its_answers_are_told(busy: Site) -> None:
    found = metrics(busy)
    assert {state: value(found, "fracture_jobs", state=state) for state in ("waiting", "done", "failed")} == {
        "waiting": 1,
        "done": 2,
        "failed": 1,
    }
    assert value(found, "fracture_failures", code="damaged") == 1
    assert value(found, "fracture_rejected_total", code="unsupported") == 1
    assert value(found, "fracture_predictions_total", model="kind/1.0.0", label="spiral") == 2
    assert value(found, "fracture_flags_total", model="kind/1.0.0", flag="doubtful") == 2
    assert value(found, "fracture_confidence_total", model="kind/1.0.0") == pytest.approx(0.8)
    assert value(found, "fracture_model_active", model="kind/1.0.0") == 1
    assert value(found, "fracture_inbox_files") == 12
    assert value(found, "fracture_workers", state="idle") == 1
    assert sum(value(found, "fracture_workers", state=state) or 0 for state in ("unknown", "dead")) == 1
    assert (value(found, "fracture_disk_free_bytes", place="store") or 0) > 0


def test_histograms_are_cumulative_and_count_every_answer(busy: Site) -> None:
    found = metrics(busy)
    buckets = sorted(
        (float(dict(labels)["le"]), count)
        for (name, labels), count in found.items()
        if name == "fracture_wait_seconds_bucket"
    )
    counts = [count for _, count in buckets]
    assert counts == sorted(counts)
    assert buckets[-1] == (float("inf"), 2)
    assert value(found, "fracture_wait_seconds_count", model="kind/1.0.0") == 2
    assert (value(found, "fracture_wait_seconds_sum", model="kind/1.0.0") or 0) > 0


def test_no_label_holds_a_name(busy: Site) -> None:
    text = busy.client.get("/metrics").text
    assert "Miller" not in text
    assert "hand" not in text
    labels = set(re.findall(r"[{,](\w+)=", text))
    assert labels <= {"state", "code", "model", "label", "flag", "place", "le", "sha256", "task"}


def test_a_program_asks_with_a_token_once_people_sign_in(site: Site) -> None:
    site.add_user("anna")
    assert site.client.get("/metrics", headers={"Accept": "text/plain"}).status_code in (303, 401)
    token = site.add_token("prometheus", Role.VIEWER)
    assert site.client.get("/metrics", headers=token).status_code == 200


@pytest.mark.parametrize("file", ["rules.yml", "dashboard.json"])
def test_alerts_and_dashboard_ask_for_metrics_that_exist(busy: Site, file: str) -> None:
    told = {name for name, _ in metrics(busy)} | {"fracture_bells"}  # there is no broker here
    asked = set(re.findall(r"fracture_\w+", (MONITORING / file).read_text()))
    assert asked <= told | {"fracture_store_seconds_bucket"}  # the stand-in for the worker tells no times of storing
    assert len(asked) >= 8


def test_what_is_written_about_metrics_is_what_there_is(busy: Site) -> None:
    told = {re.sub(r"_(bucket|count|sum|created)$", "", name) for name, _ in metrics(busy)}
    written = set(re.findall(r"`(fracture_\w+)", (MONITORING / "README.md").read_text()))
    assert told | {"fracture_bells", "fracture_store_seconds"} == written


def test_monitoring_files_can_be_read() -> None:
    for file in MONITORING.glob("**/*.yml"):
        assert yaml.safe_load(file.read_text()), file
    dashboard = json.loads(Path(MONITORING / "dashboard.json").read_text())
    numbers = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(numbers)) == len(numbers)
