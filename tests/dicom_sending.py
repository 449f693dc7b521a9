"""Clients that send DICOM, and a receiver within the test's own process, with a real store and database."""

from __future__ import annotations

import io
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
import pynetdicom.ae
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, _config, build_context
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from core.database import Database
from core.home import prepare_home, prepare_runtime
from core.ingest import Ingest
from core.settings import Settings
from core.storage import FolderStore
from tests.conftest import wait_until
from worker.dicom.pieces import ClosedSocket
from worker.dicom.quiet import silence
from worker.dicom.role import receive
from worker.dicom.server import open_door
from worker.dicom.storing import SOP_CLASSES, Storing

PATIENCE = 60
#: A client's connection; pynetdicom's own stays open where the receiver is not there, or has gone.
pynetdicom.ae.AssociationSocket = ClosedSocket  # type: ignore[attr-defined]


class Receiver:
    """What `fracture-queue dicom` runs, on a free port."""

    def __init__(self, settings: Settings, database: Database) -> None:
        silence()
        prepare_home(settings)
        prepare_runtime(settings.runtime)
        self.settings, self.database = settings, database
        self.rung: list[int] = []
        self.ingest = Ingest(settings, database, FolderStore.at(settings.store_url), self.rung.append)
        object.__setattr__(settings, "dicom_port", 0)  # any that is free, which a setting cannot say
        self.door = open_door(settings, Storing(settings, self.ingest))
        self.port = int(self.door.server_address[1])
        self.stop = threading.Event()
        self._thread = threading.Thread(target=receive, args=(settings, database, self.door, self.stop))
        self._thread.start()

    def end(self) -> None:
        self.stop.set()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()


@contextmanager
def receiving(settings: Settings, database: Database, **changes: Any) -> Iterator[Receiver]:
    receiver = Receiver(settings.with_changes(**changes), database)
    try:
        yield receiver
    finally:
        receiver.end()


@contextmanager
def associated(
    port: int,
    *syntaxes: str,
    title: str = "MODALITY",
    called: str = "FRACTURE-QUEUE",
    classes: Sequence[str] = SOP_CLASSES,
    contexts: Sequence[PresentationContext] = (),
    tls: ssl.SSLContext | None = None,
) -> Iterator[Association]:
    """Ask for an association; release it at the end if there is one."""
    silence()
    entity = AE(title)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = entity.connection_timeout = PATIENCE
    asked = list(contexts or ()) or [
        build_context(Verification),
        *(build_context(sop_class, list(syntaxes) or ExplicitVRLittleEndian) for sop_class in classes),
    ]
    association = entity.associate(
        "127.0.0.1", port, asked, ae_title=called, tls_args=(tls, "localhost") if tls is not None else None
    )
    try:
        yield association
    finally:
        if association.is_established:
            association.release()
        threads = association, association.dul
        wait_until(
            lambda: not any(map(threading.Thread.is_alive, threads)), within_seconds=PATIENCE, what="the client ends"
        )


@dataclass(frozen=True)
class Answered:
    """How C-STORE was answered; no status: the association ended instead."""

    status: int | None
    comment: str = ""


def send(association: Association, data: bytes, folder: Path) -> Answered:
    """Send a file's data set as it is, sound or not."""
    file = folder / "sent.dcm"
    file.write_bytes(data)
    before = _config.STORE_SEND_CHUNKED_DATASET
    _config.STORE_SEND_CHUNKED_DATASET = True
    try:
        found = association.send_c_store(file)
    finally:
        _config.STORE_SEND_CHUNKED_DATASET = before
    return Answered(found.get("Status"), str(found.get("ErrorComment", "")))


def send_one(port: int, data: bytes, folder: Path, **options: Any) -> Answered:
    """Send one file on an association of its own."""
    meta = pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True, force=True).file_meta
    options.setdefault("classes", [str(meta.MediaStorageSOPClassUID)])
    with associated(port, str(meta.TransferSyntaxUID), **options) as association:
        assert association.is_established
        return send(association, data, folder)


def command(tool: str, *arguments: str | Path | int) -> list[str]:
    """Return how a client is called: dcmtk's by its path, pynetdicom's as `echoscu` or `storescu`."""
    program = [tool] if "/" in tool else [sys.executable, "-m", "pynetdicom", tool]
    return [*program, *(str(argument) for argument in arguments)]


def run(tool: str, *arguments: str | Path | int) -> subprocess.CompletedProcess[str]:
    """Run a client to its end."""
    return subprocess.run(command(tool, *arguments), capture_output=True, text=True, timeout=4 * PATIENCE)


def header(data: bytes) -> Dataset:
    """Read a file without its pictures."""
    return pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True)
