"""From the first release's tables, with data in place, to this program's; and work that goes on meanwhile."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import select, text

from core.database import Database
from core.records.counters import count_differences, job_counts, rejected_arrivals
from core.records.details import answers_of, radiograph_facts, ways_in
from core.records.figures import queue_figures
from core.records.filters import Filters
from core.records.models import set_active
from core.records.results import list_results
from core.schema import MIGRATIONS, check_schema, expected_revision, found_revision, migrate
from core.settings import Settings
from core.tables import JobRow, JobStatus, PredictionRow
from tests.conftest import PROJECT, add_model
from tests.fakes import claim, event_kinds, some_answer, take_in


@pytest.fixture
def first_release(empty_database_url: str) -> Iterator[Database]:
    """A database as the first release left it, with rows of every table."""
    database = Database(empty_database_url)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with database.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    with database.engine.begin() as connection:
        for table, rows in FIRST_ROWS.items():
            names = list(rows[0])
            statement = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join(f':{name}' for name in names)})"  # noqa: S608 - constants
            connection.execute(text(statement), rows)
    yield database
    database.dispose()


AT = "2026-01-02 03:04:05.000006"
NOBODY: dict[str, Any] = {"lease_until": None, "lease_token": None, "worker": None, "rung_at": None}


def _job(number: int, status: str, **more: Any) -> dict[str, Any]:
    row = {"id": number, "radiograph_id": number, "model_version_id": 1, "status": status, "priority": 0}
    row |= {"attempts": 1, "deaths": 0, "deaths_alone": 0, "alone": False, "available_at": AT, "created_at": AT}
    row |= {"started_at": AT, "finished_at": None, "error_code": None, "error_words": None, **NOBODY}
    return row | more


#: As the first release wrote them.
FIRST_ROWS: dict[str, list[dict[str, Any]]] = {
    "model_versions": [
        {
            "id": 1,
            "name": "old-model",
            "version": "1.0.0",
            "task": "fracture-type",
            "sha256": "a" * 64,
            "card": '{"labels": ["oblique", "spiral"]}',
            "installed": True,
            "active": True,
            "created_at": AT,
        }
    ],
    "submissions": [
        {"id": 1, "name": "a drop", "source": "inbox", "priority": 0, "tags": '["ward"]', "created_at": AT}
    ],
    "radiographs": [
        {
            "id": number,
            "sha256": f"{number}" * 64,
            "frame": 0,
            "media_type": "image/png",
            "width": 10,
            "height": 20,
            "bit_depth": 8,
            "bytes": 100,
            "storage_key": f"{number}{number}/" + f"{number}" * 64,
            "name": f"{number}.png",
            "source": "inbox",
            "received_at": AT,
        }
        for number in (1, 2, 3, 4)
    ],
    "arrivals": [
        {
            "id": number,
            "submission_id": 1,
            "name": f"{number}.png",
            "sha256": f"{number}" * 64,
            "bytes": 100,
            "status": "rejected" if number == 5 else "accepted",
            "error_code": "empty" if number == 5 else None,
            "error_words": "The file is empty (0 bytes)." if number == 5 else None,
            "received_at": AT,
            "claim": None,
            "settled_at": None,
        }
        for number in (1, 2, 3, 4, 5)
    ],
    "arrival_radiographs": [{"arrival_id": number, "radiograph_id": number} for number in (1, 2, 3, 4)],
    "jobs": [
        _job(1, "done", finished_at=AT, worker="worker@old:1"),
        _job(2, "failed", finished_at=AT, error_code="unreadable", error_words="Cut off."),
        _job(3, "running", lease_until=AT, lease_token="b" * 32, worker="worker@old:1"),
        _job(4, "waiting", attempts=0, started_at=None),
    ],
    "predictions": [
        {
            "id": 1,
            "radiograph_id": 1,
            "model_version_id": 1,
            "label": "spiral",
            "confidence": 0.75,
            "prediction_set": '["spiral"]',
            "flags": "[]",
            "engine": "litert 1",
            "waited_ms": 1.5,
            "decode_ms": 2.5,
            "infer_ms": 3.5,
            "created_at": AT,
        }
    ],
    "scores": [
        {"prediction_id": 1, "label": "spiral", "probability": 0.75},
        {"prediction_id": 1, "label": "oblique", "probability": 0.25},
    ],
    "events": [
        {
            "id": 1,
            "at": AT,
            "kind": "received",
            "actor": "door",
            "radiograph_id": 1,
            "job_id": None,
            "arrival_id": 1,
            "detail": '{"name": "1.png"}',
        }
    ],
    "workers": [
        {
            "name": "worker@old:1",
            "role": "worker",
            "host": "old",
            "pid": 1,
            "engine": "litert",
            "started_at": AT,
            "seen_at": AT,
            "holds": 1,
            "held_since": AT,
            "memory_bytes": 1,
        }
    ],
}


def columns_of(database: Database, table: str) -> list[dict[str, Any]]:
    """Return the columns that the first release knew, in the order of the first one."""
    names = list(FIRST_ROWS[table][0])
    with database.engine.connect() as connection:
        rows = connection.execute(text(f"SELECT {', '.join(names)} FROM {table} ORDER BY 1, 2"))  # noqa: S608 - constants
        return [dict(row) for row in rows.mappings()]


def test_the_first_releases_data_come_through_every_step(first_release: Database) -> None:
    before = {table: columns_of(first_release, table) for table in FIRST_ROWS}
    assert all(len(rows) == len(FIRST_ROWS[table]) for table, rows in before.items())
    # when
    assert migrate(first_release) == ("0001", expected_revision())
    # then: nothing that was there is another
    assert {table: columns_of(first_release, table) for table in FIRST_ROWS} == before
    check_schema(first_release)
    with first_release.reading() as session:
        assert count_differences(session) == {}
        assert job_counts(session)[JobStatus.RUNNING] == 1
        assert rejected_arrivals(session) == 1
        results = list_results(session, Filters(), limit=10)
        facts, answers, arrivals = radiograph_facts(session, 1), answers_of(session, 1), ways_in(session, 1)
        assert queue_figures(session, Settings()).unfinished == 2
    assert [(each.id, each.status, each.label) for each in results] == [
        (4, JobStatus.WAITING, None),
        (3, JobStatus.RUNNING, None),
        (2, JobStatus.FAILED, None),
        (1, JobStatus.DONE, "spiral"),
    ]
    assert results[-1].scores == {"spiral": 0.75, "oblique": 0.25}
    assert facts.received_at == datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
    assert (answers[0].model, len(arrivals)) == ("old-model/1.0.0", 1)
    # and work goes on where it stood
    taken = claim(first_release, 1)
    assert taken is not None
    assert [job.radiograph_id for job in taken.jobs] == [4]


def test_two_programs_that_upgrade_the_same_data_at_once_both_end_well(first_release: Database) -> None:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("FRACTURE_")},
        "FRACTURE_DATABASE_URL": first_release.url.render_as_string(hide_password=False),
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "cli.main", "migrate"],
            cwd=PROJECT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(2)
    ]
    said = sorted(process.communicate(timeout=120)[0] for process in processes)
    assert [process.returncode for process in processes] == [0, 0], said
    assert said == [
        f"The database is at revision {expected_revision()} already.\n",
        f"The database went from 0001 to revision {expected_revision()}.\n",
    ]
    assert found_revision(first_release) == expected_revision()
    assert len(columns_of(first_release, "jobs")) == 4


def test_the_active_model_changes_while_work_runs_and_nothing_is_lost(database: Database, model_id: int) -> None:
    """Each radiograph is answered by the version that was active when it came in, once, also after the change."""
    new = add_model(database, "next-model", active=False)
    incoming, troubles, over = range(30), [], threading.Event()

    def work() -> None:
        from core.records.claims import Outcome, store_outcomes

        try:
            while True:
                last = over.is_set()
                taken = claim(database, model_id, new, limit=3)
                if taken is None:
                    if last:
                        return
                    over.wait(0.02)
                    continue
                with database.transaction() as session:
                    done = [Outcome(job=job, answer=some_answer(), engine="fake") for job in taken.jobs]
                    store_outcomes(session, taken, done, "w@test:1")
        except Exception as error:
            troubles.append(error)

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    try:
        for seed in incoming:
            if seed == 10:
                with database.transaction() as session:
                    set_active(session, "next-model/1.0.0", active=True, actor="test")
            if seed == 20:
                with database.transaction() as session:
                    set_active(session, "test-model/1.0.0", active=False, actor="test")
            take_in(database, seed)
    finally:
        over.set()
        for worker in workers:
            worker.join(timeout=120)
    assert troubles == []
    with database.reading() as session:
        answered = session.execute(
            select(PredictionRow.radiograph_id, PredictionRow.model_version_id).order_by(PredictionRow.radiograph_id)
        ).all()
        statuses = set(session.scalars(select(JobRow.status)))
    by_old = [number for number, model in answered if model == model_id]
    by_new = [number for number, model in answered if model == new]
    assert (by_old, by_new) == (list(range(1, 21)), list(range(11, 31)))
    assert statuses == {JobStatus.DONE}
    assert event_kinds(database).count("done") == 40
