"""The inbox's own process, killed whenever it has files in hand, and at every step between claim and settle."""

import io
import signal
import subprocess
import zipfile
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import func, select

from core.records.claims import Outcome, store_outcomes
from core.tables import ArrivalRow, JobRow, ModelVersionRow, RadiographRow
from tests.conftest import draw_radiograph, wait_until
from tests.fakes import claim, some_answer
from tests.integration.dying import INBOX
from tests.integration.parts import PATIENCE, Installation, kill


def is_gone(path: Path) -> bool:
    return not path.exists()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_an_inbox_that_is_killed_again_and_again_loses_and_doubles_nothing(installation: Installation) -> None:
    settings, names = installation.settings, []
    for turn in range(4):
        process = installation.start("inbox")
        for number in range(30):
            name = f"{turn}-{number}.png"
            (settings.inbox / name).write_bytes(draw_radiograph(100 * turn + number))
            names.append(name)
        last = settings.inbox / names[-1]
        wait_until(partial(is_gone, last), within_seconds=PATIENCE, what="the files are being taken")
        kill([process.pid])
        process.wait(timeout=PATIENCE)
    process = installation.start("inbox")

    def arrivals() -> list[str]:
        with installation.database.reading() as session:
            return list(session.scalars(select(ArrivalRow.name)))

    wait_until(lambda: len(arrivals()) >= len(names), within_seconds=PATIENCE, what="all files are recorded")
    process.terminate()
    assert process.wait(timeout=PATIENCE) == 0
    assert sorted(arrivals()) == sorted(names)
    assert list(settings.inbox.iterdir()) == []
    with installation.database.reading() as session:
        for table in (RadiographRow, JobRow):
            assert session.scalar(select(func.count()).select_from(table)) == len(names)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_an_inbox_that_is_killed_within_an_archive_records_each_of_its_files_once(installation: Installation) -> None:
    names = [f"{number}.png" for number in range(400)]
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for number, name in enumerate(names):
            archive.writestr(name, draw_radiograph(number))
    hidden = installation.settings.inbox / ".study"
    hidden.write_bytes(stream.getvalue())
    hidden.rename(installation.settings.inbox / "study.zip")

    def arrivals() -> list[str]:
        with installation.database.reading() as session:
            return list(session.scalars(select(ArrivalRow.name)))

    kills = 0
    while kills < 3 and len(arrivals()) < len(names):
        process, before = installation.start("inbox"), len(arrivals())
        wait_until(lambda before=before: len(arrivals()) > before, within_seconds=PATIENCE, what="files are recorded")  # type: ignore[misc]
        kill([process.pid])
        process.wait(timeout=PATIENCE)
        kills += 1
    process = installation.start("inbox")

    def is_settled() -> bool:
        classify(installation)
        return below(installation.settings.done) == ["study.zip", "study.zip.SUMMARY.csv"]

    wait_until(is_settled, within_seconds=PATIENCE, what="the archive is settled")
    process.terminate()
    assert process.wait(timeout=PATIENCE) == 0
    assert sorted(arrivals()) == sorted(names)
    assert below(installation.settings.processing) == below(installation.settings.inbox) == []


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_an_inbox_that_is_killed_at_each_step_records_each_file_once_and_settles_it(installation: Installation) -> None:
    settings, done, failed = installation.settings, [], []
    # given: a radiograph and a file that is none for each step; whoever comes next finds what the dead one left
    for number, step in enumerate(INBOX):
        done.append(f"{number}.png")
        failed.append(f"{number}.txt")
        (settings.inbox / done[-1]).write_bytes(draw_radiograph(number))
        (settings.inbox / failed[-1]).write_text(f"no radiograph {number}")
        process = installation.start_dying("inbox", step)
        wait_until(partial(has_died, installation, process), within_seconds=PATIENCE, what=f"death at: {step}")
        assert process.returncode == -signal.SIGKILL, step
    # when: one comes that lives
    process = installation.start("inbox")

    def is_settled() -> bool:
        classify(installation)
        return len(below(settings.done)) + len(below(settings.failed)) == len(done) + 2 * len(failed)

    wait_until(is_settled, within_seconds=PATIENCE, what="every file is settled")
    process.terminate()
    assert process.wait(timeout=PATIENCE) == 0
    # then
    assert below(settings.done) == sorted(done)
    assert below(settings.failed) == sorted([*failed, *(f"{name}.reason.txt" for name in failed)])
    assert below(settings.processing) == below(settings.inbox) == []
    with installation.database.reading() as session:
        assert sorted(session.scalars(select(ArrivalRow.name))) == sorted([*done, *failed])
        for table in (RadiographRow, JobRow):
            assert session.scalar(select(func.count()).select_from(table)) == len(done)


def has_died(installation: Installation, process: subprocess.Popen[bytes]) -> bool:
    classify(installation)
    return process.poll() is not None


def classify(installation: Installation) -> None:
    """Be the worker: end everything that waits."""
    with installation.database.reading() as session:
        models = list(session.scalars(select(ModelVersionRow.id)))
    while taken := claim(installation.database, *models):
        with installation.database.transaction() as session:
            outcomes = [Outcome(job=job, answer=some_answer(), engine="fake") for job in taken.jobs]
            store_outcomes(session, taken, outcomes, "worker@test:1")


def below(folder: Path) -> list[str]:
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"
    )
