"""The doctor beside real workers: it rings where nobody was told, and finds nothing wrong with work under way."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta
from functools import partial
from itertools import count
from typing import Any

import pytest
from sqlalchemy import update

from core.database import now
from core.ingest import Incoming, Ingest
from core.records.intake import Submission
from core.storage import FolderStore
from core.tables import JobRow, JobStatus, Source
from tests.conftest import PROJECT, draw_radiograph, wait_until
from tests.fakes import black_png
from tests.integration.parts import PATIENCE, Installation, kill


def call_doctor(installation: Installation, *options: str) -> tuple[int, dict[str, Any]]:
    ran = subprocess.run(
        [sys.executable, "-m", "cli.main", "doctor", "--json", *options],
        env=installation.environment,
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert ran.stdout, ran.stderr
    return ran.returncode, json.loads(ran.stdout)


def complaints(document: dict[str, Any]) -> list[str]:
    return [each["check"] for each in document["checks"] if each["found"]]


def test_work_that_nobody_was_told_of_is_announced_and_done(installation: Installation) -> None:
    # given: a worker, no clock that would have it looked for, and work whose bell was lost long ago
    installation.start_worker()
    silent = Ingest(
        installation.settings, installation.database, FolderStore.at(installation.settings.store_url), lambda _: None
    )
    found: list[tuple[int, list[str]]] = []
    seeds = count()

    def is_found(*options: str) -> bool:
        """The worker looks around once when it starts, and on a busy machine may find what was to be lost."""
        if not installation.count(JobStatus.WAITING):
            data = draw_radiograph(next(seeds))
            silent.take(Submission(source=Source.WEB), [Incoming(name="a.png", data=data, size=len(data))])
            with installation.database.transaction() as session:
                session.execute(update(JobRow).values(available_at=now(session) - timedelta(minutes=5)))
        code, document = call_doctor(installation, *options)
        found.append((code, complaints(document)))
        return bool(found[-1][1])

    # when, then
    wait_until(is_found, within_seconds=60, what="the doctor finds it")
    assert found[-1] == (1, ["bells"])
    assert installation.count(JobStatus.WAITING) == 1
    wait_until(partial(is_found, "--fix"), within_seconds=60, what="the doctor mends it")
    assert found[-1] == (0, ["bells"])
    installation.wait_for(done=next(seeds))
    assert call_doctor(installation, "--deep")[0] == 0


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_nothing_is_wrong_while_workers_work_and_after_one_was_killed(installation: Installation) -> None:
    installation.start("beat")
    installation.start_worker()
    installation.take_in(*(black_png(4000 + number, 4000) for number in range(60)))
    looks = 0
    while installation.count(JobStatus.WAITING, JobStatus.RUNNING):
        if looks == 1:
            kill([installation.holder()])
        code, document = call_doctor(installation, *(["--fix"] if looks % 2 else []))
        assert (code, complaints(document)) == (0, [])
        looks += 1
    assert looks >= 3
    assert installation.events("returned") > 0
    installation.wait_for(done=60)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_after_everything_was_killed_the_next_worker_finds_its_work_waiting(installation: Installation) -> None:
    # given: a worker that was killed whole, long ago, with work in hand; its broker is empty
    worker = installation.start_worker()
    installation.take_in(*(black_png(3000 + number, 3000) for number in range(16)))
    installation.holder()
    kill([worker.pid])
    worker.wait(timeout=PATIENCE)

    def is_told() -> bool:
        return "leases" in complaints(call_doctor(installation)[1])

    # when: the doctor comes as soon as the dead count as dead
    wait_until(is_told, within_seconds=PATIENCE, what="the leases have run out")
    code, _ = call_doctor(installation, "--fix")
    assert code == 0
    assert installation.count(JobStatus.RUNNING) == 0
    assert installation.events("returned") > 0
    # then
    installation.start("beat")
    installation.start_worker()
    installation.wait_for(done=16)
