"""The receiver's process: listen, store, report, until told to stop."""

from __future__ import annotations

import logging
import threading
import time

from core.alive import forget_life, show_life
from core.database import Database
from core.errors import Unavailable
from core.records.workers import Identity, beat, sign_off
from core.settings import Settings
from worker.dicom.quiet import report_threads, silence
from worker.dicom.server import Door, open_door
from worker.dicom.storing import Storing
from worker.opening import open_intake, stop_on_signals

log = logging.getLogger(__name__)

#: A loop that accepts and has not turned for so long is stuck, and shows no life any more.
_STUCK_SECONDS = 30.0
_LOOK_EVERY = 0.5


def run_dicom(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT.

    Raises:
        ConfigurationError: Folders, tables, the address or files of TLS are unusable, or nobody could send.
        Unavailable: A disk is full, or the database is away.
    """
    silence()
    report_threads()
    database, ingest = open_intake(settings)
    stop = stop_on_signals()
    door = open_door(settings, Storing(settings, ingest))
    try:
        receive(settings, database, door, stop)
    finally:
        database.dispose()


def receive(settings: Settings, database: Database, door: Door, stop: threading.Event) -> None:
    """Serve until `stop` is set, then end in order."""
    identity = Identity.of_this_process("dicom")
    accepting = threading.Thread(target=door.serve, name="dicom-door", daemon=True)
    accepting.start()
    log.info("Receiving DICOM as %s on port %d.", settings.dicom_ae_title, door.server_address[1])
    next_beat = 0.0
    try:
        while not stop.is_set():
            if time.monotonic() - door.turned_at < _STUCK_SECONDS:
                show_life(settings.runtime, "dicom")
            if time.monotonic() >= next_beat:
                _beat(database, identity, len(door.active_associations))
                next_beat = time.monotonic() + settings.heartbeat_seconds
            stop.wait(min(_LOOK_EVERY, settings.heartbeat_seconds))
    finally:
        if not door.close(within_seconds=settings.stop_seconds / 2):
            log.warning("Associations were ended in the middle; what was not acknowledged is not stored.")
        forget_life(settings.runtime, "dicom")
        try:
            with database.transaction() as session:
                sign_off(session, identity)
        except Unavailable as error:
            log.warning("%s This process could not sign off; it will be forgotten.", error)


def _beat(database: Database, identity: Identity, associations: int) -> None:
    try:
        with database.transaction() as session:
            beat(session, identity, engine="", holds=associations)
    except Unavailable as error:
        log.warning("%s The receiver goes on; what it cannot store it refuses.", error)
