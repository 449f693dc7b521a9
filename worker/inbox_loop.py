"""The inbox process: watch, take, record and move on, until told to stop."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.alive import forget_life, show_life
from core.database import Database
from core.errors import ConfigurationError, Unavailable
from core.file_systems import file_system_of
from core.locks import held_alone
from core.records.controls import intake_pause
from core.records.workers import Identity, beat, sign_off
from core.settings import Settings
from worker.inbox import Inbox
from worker.opening import open_intake, stop_on_signals
from worker.watch import FolderWatch

log = logging.getLogger(__name__)

#: How often is looked whether the intake is paused.
_LOOK_EVERY = 1.0
#: A scan of a large folder on a slow share takes long: so many times as long the share is then left alone.
_SCAN_SHARE = 4
#: How often finished files are moved on while some are still in the works.
_SETTLE_EVERY = 0.5


def run_inbox(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT.

    Raises:
        ConfigurationError: Folders or tables are unusable, or another inbox process has this inbox.
        Unavailable: A disk is full, or the database is away.
    """
    database, ingest = open_intake(settings)
    stop = stop_on_signals()
    with _only_one(settings.processing / ".lock"):
        watch_inbox(settings, database, Inbox(settings, database, ingest), stop)


def watch_inbox(settings: Settings, database: Database, inbox: Inbox, stop: threading.Event) -> None:
    """Do the steps until `stop` is set."""
    watch = FolderWatch(settings.inbox, polling=settings.inbox_polling)
    identity = Identity.of_this_process("inbox")
    log.info("Watching %s.", settings.inbox)
    _advise(settings)
    recovered, root_missing, paused = False, False, False
    next_scan = next_settle = next_beat = next_look = 0.0
    try:
        while not stop.is_set():
            now = time.monotonic()
            show_life(settings.runtime, "inbox")
            try:
                if not recovered:
                    inbox.recover()
                    recovered = True
                if now >= next_beat:
                    with database.transaction() as session:
                        beat(session, identity, engine="", holds=inbox.backlog)
                    next_beat = now + settings.heartbeat_seconds
                if now >= next_look:
                    paused = _look_for_pause(database, paused)
                    next_look = now + _LOOK_EVERY
            except Unavailable as error:
                log.warning("%s The inbox tries again.", error)
                next_beat = now + settings.heartbeat_seconds
            try:
                if watch.keep_up() or now >= next_scan:
                    inbox.scan()
                    next_scan = time.monotonic() + scan_pause(settings, took=time.monotonic() - now)
                if root_missing:
                    log.warning("The inbox %s is back.", settings.inbox)
                root_missing = False
            except OSError as error:
                if not root_missing:
                    log.error("The inbox %s cannot be read: %s. Looking for it again.", settings.inbox, error.strerror)
                root_missing = True
                next_scan = now + settings.settle_seconds
            if not paused:
                inbox.claim_ready()
            inbox.record()
            if now >= next_settle:
                try:
                    inbox.settle()
                except Unavailable as error:
                    log.warning("%s Finished files are moved later.", error)
                next_settle = time.monotonic() + _SETTLE_EVERY
            _wait(watch, inbox, min(settings.settle_seconds / 2, _SETTLE_EVERY), stop, taking=not paused)
    finally:
        watch.stop()
        forget_life(settings.runtime, "inbox")
        try:
            with database.transaction() as session:
                sign_off(session, identity)
        except Unavailable as error:
            log.warning("%s This process could not sign off; it will be forgotten.", error)


def _advise(settings: Settings) -> None:
    lies_on = file_system_of(settings.inbox)
    if lies_on is not None and lies_on.is_shared and not settings.inbox_polling:
        log.warning(
            "The inbox lies on a share (%s), which sends no events for what other machines do: files are found every "
            "%g s. FRACTURE_INBOX_POLLING=1 looks more often.",
            lies_on.kind,
            settings.rescan_seconds,
        )


def scan_pause(settings: Settings, *, took: float) -> float:
    """Return how long to wait for the next scan: in polling mode as a file settles, but not all the time."""
    pause = min(settings.settle_seconds, settings.rescan_seconds) if settings.inbox_polling else settings.rescan_seconds
    return max(pause, _SCAN_SHARE * took)


def _look_for_pause(database: Database, paused: bool) -> bool:
    """Return whether the intake is paused: what lies in the inbox stays there, what was taken goes its way."""
    with database.reading() as session:
        found = intake_pause(session)
    if found and not paused:
        log.warning("%s Files stay in the inbox.", found.words())
    elif paused and not found:
        log.info("The intake is resumed.")
    return found is not None


def _wait(watch: FolderWatch, inbox: Inbox, most_seconds: float, stop: threading.Event, *, taking: bool) -> None:
    """Wait for an event, for the next file to be due, or for the next tick; look at what the events name."""
    due = inbox.seconds_until_due() if taking else None
    until = time.monotonic() + (most_seconds if due is None else min(most_seconds, max(due, 0.02)))
    while not stop.is_set() and (left := until - time.monotonic()) > 0:
        try:
            path = watch.changed.get(timeout=min(left, 0.25))
        except queue.Empty:
            continue
        inbox.look_at(path, time.monotonic())


@contextmanager
def _only_one(lock: Path) -> Iterator[None]:
    said = f"Another inbox process already watches this inbox ({lock.parent})."
    with held_alone(lock, lambda _process: ConfigurationError(said)):
        yield
