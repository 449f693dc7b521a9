"""Log lines: one shape for people, one for programs, and no names in either."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from core.database import Database
from core.database import now as database_now
from core.logs import JSON, READABLE, configure_logging
from core.records.events import Event, record_events
from tests.unit.web_fixtures import Site


@pytest.fixture(autouse=True)
def put_logging_back() -> Iterator[None]:
    root, trail = logging.getLogger(), logging.getLogger("fracture.trail")
    before = root.handlers[:], root.level, trail.level
    yield
    root.handlers[:], root.level = before[:2]
    trail.setLevel(before[2])


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_line_for_people_names_role_process_and_time(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("worker")
    logging.getLogger("worker.batching").warning("Something %s.", "happened")
    line = capsys.readouterr().err
    assert " worker[" in line
    assert line.endswith("WARNING Something happened.\n")


def test_a_line_for_programs_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("web", JSON)
    try:
        raise ValueError("line 1\nline 2")
    except ValueError:
        logging.getLogger("web.problems").exception("Something %s.", "happened")
    (found,) = lines(capsys)
    assert {name: found[name] for name in ("role", "level", "logger", "message")} == {
        "role": "web",
        "level": "ERROR",
        "logger": "web.problems",
        "message": "Something happened.",
    }
    assert "line 1\nline 2" in found["exc_info"]
    assert found["timestamp"].endswith("+00:00")


def test_a_radiograph_is_told_by_its_number_from_arrival_to_prediction(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging("web", JSON)
    (number,) = site.take_in(1, name="Miller^Anna 1950-02-03.png")
    site.classify()
    said = capsys.readouterr().err
    found = [json.loads(line) for line in said.splitlines()]
    told = [(line["event"], line["radiograph_id"]) for line in found if line["logger"] == "fracture.trail"]
    assert told == [("received", number), ("started", number), ("done", number)]
    assert all(line["job_id"] for line in found if line.get("event") in ("started", "done"))
    assert "Miller" not in said


def test_people_are_not_told_each_radiograph(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("web", READABLE)
    site.take_in(1)
    site.classify()
    assert capsys.readouterr().err == ""


def test_what_is_rolled_back_is_not_told(database: Database, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("worker", JSON)
    with pytest.raises(RuntimeError), database.transaction() as session:
        record_events(session, database_now(session), [Event(kind="done", actor="w", radiograph_id=7)])
        raise RuntimeError
    assert lines(capsys) == []
    with database.transaction() as session:
        event = Event(kind="failed", actor="w", radiograph_id=7, detail={"code": "damaged", "words": "of the user"})
        record_events(session, database_now(session), [event])
    (line,) = lines(capsys)
    assert (line["event"], line["radiograph_id"], line["code"]) == ("failed", 7, "damaged")
    assert "of the user" not in line.values()
