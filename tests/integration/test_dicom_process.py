"""The receiver's own process with real clients: pynetdicom's commands, and dcmtk's where it is installed."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from core.dicom.framing import as_file
from core.ports import free_port
from core.storage import FolderStore
from core.tables import ArrivalRow, ArrivalStatus, Base, JobRow, RadiographRow, Source
from tests.conftest import wait_until
from tests.dicom_files import dicom, ramp
from tests.dicom_sending import Answered, associated, header, run, send
from tests.integration.dying import INTAKE
from tests.integration.parts import PATIENCE, Installation, RedisServer
from tests.planted import files_below, found_in, planted_files
from worker.dicom.storing import SUCCESS

DX = "1.2.840.10008.5.1.4.1.1.1.1"
EXPLICIT = "1.2.840.10008.1.2.1"
#: dcmtk's commands lie beside each other; pynetdicom's are modules.
DCMTK = shutil.which("dcmsend")
CLIENTS = ["pynetdicom", *(["dcmtk"] if DCMTK else [])]
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def installation(tmp_path: Path, database_url: str, redis: RedisServer, shipped_models: Path) -> Iterator[Installation]:
    changes = {"FRACTURE_DICOM_PORT": str(free_port()), "FRACTURE_LOG_FORMAT": "json"}  # which tells most
    made = Installation(tmp_path / "home", database_url, redis, shipped_models, **changes)
    yield made
    made.close()


def start(installation: Installation, step: str | None = None) -> subprocess.Popen[bytes]:
    """Start a receiver; return when it answers."""
    process = installation.start_dying("dicom", step) if step else installation.start("dicom")

    def answers() -> bool:
        assert process.poll() is None, installation.log("dicom")
        try:
            socket.create_connection(("127.0.0.1", installation.settings.dicom_port), timeout=PATIENCE).close()
        except OSError:
            return False
        return True

    wait_until(answers, within_seconds=PATIENCE, what="the receiver answers")
    return process


def stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    assert process.wait(timeout=PATIENCE) == 0


def rows(installation: Installation, table: Any) -> list[Any]:
    with installation.database.reading() as session:
        return list(session.scalars(select(table)))


def dump(installation: Installation) -> bytes:
    """Return every cell of every table."""
    lines = []
    with installation.database.reading() as session:
        for table in Base.metadata.sorted_tables:
            lines += [repr(tuple(row)) for row in session.execute(select(table))]
    return "\n".join(lines).encode()


def test_nothing_that_names_a_patient_is_kept_of_what_real_clients_send(
    installation: Installation, tmp_path: Path
) -> None:
    folder, port = tmp_path / "QUILLFEATHER", installation.settings.dicom_port
    folder.mkdir()
    for name, data in planted_files().items():
        (folder / name).write_bytes(data)
    process = start(installation)
    for client in CLIENTS:
        titles = ("-aec", "FRACTURE-QUEUE", "-aet", "QUILLFEATHER")
        if client == "pynetdicom":
            assert run("echoscu", "127.0.0.1", port, *titles).returncode == 0
            run("storescu", "127.0.0.1", port, folder, *titles, "-cx")
        else:
            assert run(str(Path(DCMTK or "").with_name("echoscu")), *titles, "127.0.0.1", port).returncode == 0
            # One after the other: it gives up its association at the first that is refused.
            run(str(DCMTK), *titles, "-nh", "-nuc", "127.0.0.1", port, "+sd", folder)
        accepted = [row for row in rows(installation, ArrivalRow) if row.status is ArrivalStatus.ACCEPTED]
        assert len(accepted) >= 16 * (1 + CLIENTS.index(client)), (client, installation.log("dicom"))
    wrong = run("echoscu", "127.0.0.1", port, "-aec", "OTHER", "-aet", "QUILLFEATHER")
    assert wrong.returncode != 0
    stop(process)

    radiographs = rows(installation, RadiographRow)
    assert {row.source for row in radiographs} == {Source.DICOM}
    assert len({row.patient_key for row in radiographs}) == 1
    assert {row.error_code for row in rows(installation, ArrivalRow)} >= {None, "wrong-modality", "unreadable"}
    assert installation.settings.store_path is not None
    below = files_below(installation.home)
    assert len(files_below(installation.settings.store_path)) == len(radiographs)
    assert found_in(dump(installation)) == set()
    assert found_in(*(path.read_bytes() for path in below), *(str(path).encode() for path in below)) == set()
    assert "0x0122" in installation.log("dicom")


@dataclass
class Sender:
    """A client that sends again what was not acknowledged, until everything is."""

    installation: Installation
    folder: Path
    files: list[bytes]
    acknowledged: set[int] = field(default_factory=set)  # numbers of files
    failed: int = 0  # associations that broke, or were refused

    def hash_of(self, number: int) -> str:
        """Return the sha256 that a file has when it has come."""
        data, meta = self.files[number], header(self.files[number]).file_meta
        encoded = data[144 + meta.FileMetaInformationGroupLength :]
        sop = str(meta.MediaStorageSOPInstanceUID)
        return hashlib.sha256(as_file(encoded, syntax=EXPLICIT, sop_class=DX, sop_instance=sop)).hexdigest()

    def send_all(self) -> None:
        def sent() -> bool:
            with associated(self.installation.settings.dicom_port, EXPLICIT, classes=[DX]) as association:
                for number in range(len(self.files)):
                    if number in self.acknowledged:
                        continue
                    if not association.is_established or self._send(association, number).status != SUCCESS:
                        self.failed += 1
                        return False
                    self.acknowledged.add(number)
            return True

        wait_until(sent, within_seconds=5 * PATIENCE, what="everything is acknowledged")

    def _send(self, association: Any, number: int) -> Answered:
        try:
            return send(association, self.files[number], self.folder)
        except (RuntimeError, ValueError):  # it broke before this one was sent
            return Answered(None)

    def check_stored(self) -> None:
        """Check that what was acknowledged so far is recorded, and lies in the store whole."""
        known = set(self.acknowledged)
        store = FolderStore.at(self.installation.settings.store_url)
        stored = {row.sha256: row for row in rows(self.installation, RadiographRow)}
        for number in known:
            row = stored[self.hash_of(number)]
            assert hashlib.sha256(store.get(row.storage_key)).hexdigest() == row.stored_sha256

    def check_none_twice(self) -> None:
        hashes = sorted(self.hash_of(number) for number in range(len(self.files)))
        assert len(set(hashes)) == len(hashes)
        assert sorted(row.sha256 for row in rows(self.installation, RadiographRow)) == hashes
        jobs = rows(self.installation, JobRow)
        assert len(jobs) == len({(job.radiograph_id, job.model_version_id) for job in jobs}) == len(hashes)


def sender(installation: Installation, folder: Path, count: int) -> Sender:
    levels = ramp(width=160, height=120)
    files = [dicom(levels // (1 + number % 7), SOPInstanceUID=f"1.2.3.4.{number}") for number in range(count)]
    return Sender(installation, folder, files)


@pytest.mark.parametrize(
    ("images", "kills"), [(20, 2), pytest.param(200, 8, marks=[pytest.mark.long, pytest.mark.timeout(1800)])]
)
def test_what_was_acknowledged_is_stored_and_nothing_twice_however_often_the_receiver_is_killed(
    installation: Installation, tmp_path: Path, images: int, kills: int
) -> None:
    client, chance = sender(installation, tmp_path, images), random.Random(images)
    process, pushing = start(installation), threading.Thread(target=client.send_all)
    pushing.start()
    try:
        for kill in range(kills):
            enough = (kill + 1) * images // (kills + 1)
            wait_until(
                lambda enough=enough: len(client.acknowledged) >= enough,  # type: ignore[misc]
                within_seconds=PATIENCE,
                what=f"{enough} are acknowledged",
            )
            threading.Event().wait(chance.uniform(0, 0.05))  # anywhere between two answers
            os.kill(process.pid, signal.SIGKILL)
            process.wait(timeout=PATIENCE)
            client.check_stored()
            process = start(installation)
    finally:
        pushing.join(5 * PATIENCE)
    assert len(client.acknowledged) == images
    assert client.failed >= kills
    stop(process)
    client.check_stored()
    client.check_none_twice()


@pytest.mark.long
@pytest.mark.parametrize("step", INTAKE)
def test_a_receiver_that_dies_at_any_step_acknowledged_nothing_that_is_not_stored(
    installation: Installation, tmp_path: Path, step: str
) -> None:
    client = sender(installation, tmp_path, 3)
    process, pushing = start(installation, step), threading.Thread(target=client.send_all)
    pushing.start()
    try:
        assert process.wait(timeout=PATIENCE) == -signal.SIGKILL
        assert client.acknowledged == set()  # it died with the first
        process = start(installation)
    finally:
        pushing.join(5 * PATIENCE)
    stop(process)
    client.check_stored()
    client.check_none_twice()
