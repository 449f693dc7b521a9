"""20 DICOM files that name a patient go through a whole installation, which keeps and says nothing of them."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import urllib3
from sqlalchemy import select

from core.tables import ArrivalRow, RadiographRow
from tests.acceptance.conftest import Installation
from tests.conftest import wait_until
from tests.planted import FOLDER, IDENTIFIERS, files_below, found_in, planted_files

FILES = planted_files()


def ask(installation: Installation, path: str) -> bytes:
    return urllib3.request("GET", installation.address + path, timeout=30, retries=False).data


def upload(installation: Installation) -> bytes:
    """Send all files in one request, as a program would."""
    answer = urllib3.request(
        "POST",
        f"{installation.address}/api/v1/radiographs",
        fields=[("files", (name, content)) for name, content in FILES.items()],
        timeout=60,
        retries=False,
    )
    assert answer.status < 300, answer.data
    return answer.data


def kept_by(installation: Installation, *others: Path) -> Iterator[tuple[Path, bytes]]:
    """Yield every file of the home folder with what it holds and is called, but not the users' own.

    A note in `done/` or `failed/` is called like the file or folder that it is about: there only the words count.
    """
    for path in files_below(installation.home, *others):
        if not path.is_relative_to(installation.settings.done) and not path.is_relative_to(
            installation.settings.failed
        ):
            yield path, path.read_bytes() + path.name.encode()
        elif path.name not in FILES:
            yield path, path.read_bytes()


def broker_holds(installation: Installation) -> bytes:
    client = redis.Redis.from_url(installation.settings.broker_url.replace("redis+socket:", "unix:"))
    with client:
        return repr([(key, client.dump(key)) for key in client.scan_iter("*")]).encode()


@pytest.mark.long
def test_nothing_that_names_a_patient_is_found_in_a_whole_installation(
    installation: Installation, tmp_path: Path
) -> None:
    given = tmp_path / FOLDER
    given.mkdir()
    for name, content in FILES.items():
        (given / name).write_bytes(content)
    assert found_in(*FILES.values()) == set(IDENTIFIERS)  # the search finds what is there

    # when: the same twenty come by both doors
    answered = upload(installation)
    installation.drop(given)
    moved_on = [installation.settings.done / FOLDER, installation.settings.failed / FOLDER]
    wait_until(
        lambda: sum(path.name in FILES for path in files_below(*moved_on)) == len(FILES),
        within_seconds=60,
        what="every dropped file is moved on",
    )
    installation.wait_for_done(16)
    database = installation.database()
    with database.reading() as session:
        radiographs = session.scalars(select(RadiographRow)).all()
        arrivals = len(session.scalars(select(ArrivalRow)).all())
    database.dispose()

    # then: they were kept and answered, one patient together
    assert len(radiographs) == 16
    assert arrivals == 2 * len(FILES)
    assert len({row.patient_key for row in radiographs}) == 1
    # and: nothing that is kept names anybody, nor does what the program says
    said = [answered, broker_holds(installation)]
    for command in (
        ["results", "--format", "json"],
        ["results", "--format", "csv"],
        ["queue", "--json"],
        ["queue"],
        ["doctor"],
        ["support-bundle", str(tmp_path / "support.zip")],
        ["backup", str(tmp_path / "backup")],
    ):
        done = installation.run(*command)
        assert done.returncode == 0, (command, done.stderr)
        said.append((done.stdout + done.stderr).replace(str(tmp_path), "").encode())
    for page in ("/results", "/queue", "/submissions/1", "/radiographs/1", "/api/v1/radiographs?limit=100"):
        said.append(ask(installation, page))
    assert found_in(*said) == set()
    unpacked = tmp_path / "unpacked"
    with zipfile.ZipFile(tmp_path / "support.zip") as archive:
        archive.extractall(unpacked)
    looked_at = 0
    for path, content in kept_by(installation, unpacked, tmp_path / "backup"):
        assert found_in(content) == set(), path
        looked_at += 1
    assert looked_at > 2 * len(radiographs)  # the originals, in the store and in the backup, and what lies around them
