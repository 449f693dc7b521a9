"""The faults: each strikes, and heals what nobody else would heal; the system has to see to the rest."""

from __future__ import annotations

import random
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

import psutil
from redis.exceptions import RedisError

from chaos.disks import Disk
from chaos.trial import BACK_ENDS, DEPARTMENT, EMBEDDED, Trial
from core.queue import WORK_QUEUE

_Found = TypeVar("_Found")
#: How long parts are away or paused, and how long a strike waits for something that it can strike, in seconds.
_AWAY, _PATIENCE = 3.0, 5.0


@dataclass(frozen=True)
class Fault:
    """One kind of trouble."""

    name: str
    #: Returns when what it does is over: whether there was something to strike.
    strike: Callable[[Trial, random.Random], bool]
    back_ends: tuple[str, ...] = BACK_ENDS
    needs_disks: bool = False


def possible_faults(trial: Trial) -> list[Fault]:
    """Return those that can strike here."""
    disks = trial.store_disk is not None and trial.inbox_disk is not None
    return [fault for fault in FAULTS if trial.back_end in fault.back_ends and (disks or not fault.needs_disks)]


def left_out(trial: Trial) -> list[str]:
    """Return the names of those that belong to this back end and cannot strike here."""
    possible = possible_faults(trial)
    return [fault.name for fault in FAULTS if trial.back_end in fault.back_ends and fault not in possible]


def _soon(look: Callable[[], _Found]) -> _Found:
    """Look until something is found, for a while; return the last look."""
    until = time.monotonic() + _PATIENCE
    while not (found := look()) and time.monotonic() < until:
        time.sleep(0.005)
    return found


def _kill(process: psutil.Process | None) -> bool:
    try:
        if process is not None:
            process.kill()
    except psutil.NoSuchProcess:
        return False
    return process is not None


def _kill_role(trial: Trial, name: str) -> bool:
    return _kill(_soon(lambda: trial.role(name)))


def kill_pool_process(trial: Trial, chance: random.Random) -> bool:
    """SIGKILL one of the processes that classify, with work in hand."""
    pool = _soon(trial.pool_at_work)
    return bool(pool) and _kill(chance.choice(pool))


def kill_worker(trial: Trial, _chance: random.Random) -> bool:
    """SIGKILL the worker's main process; its pool dies with it."""
    _soon(trial.pool_at_work)
    return _kill_role(trial, "worker")


def kill_inbox(trial: Trial, _chance: random.Random) -> bool:
    """SIGKILL the watcher, at whatever step it is."""
    return _kill_role(trial, "inbox")


def kill_web(trial: Trial, _chance: random.Random) -> bool:
    """SIGKILL the page and API, perhaps in the middle of an upload."""
    return _kill_role(trial, "web")


def kill_beat(trial: Trial, _chance: random.Random) -> bool:
    """SIGKILL the clock that calls the reconciler."""
    return _kill_role(trial, "beat")


def kill_up(trial: Trial, _chance: random.Random) -> bool:
    """SIGKILL the supervisor, and everything with it; a person starts it again."""
    trial.stop(signal.SIGKILL)
    trial.launch()
    return True


def _pause(process: psutil.Process | None, seconds: float) -> bool:
    if process is None:
        return False
    try:
        process.suspend()
        time.sleep(seconds)
        process.resume()
    except psutil.NoSuchProcess:
        return False
    return True


def pause_pool_process(trial: Trial, chance: random.Random) -> bool:
    """SIGSTOP a process with work in hand beyond its lease, then let it go on."""
    pool = _soon(trial.pool_at_work)
    seconds = trial.settings.lease_seconds + 2 * trial.settings.reconcile_seconds
    return bool(pool) and _pause(chance.choice(pool), seconds)


def pause_redis(trial: Trial, _chance: random.Random) -> bool:
    """SIGSTOP the broker for a while."""
    return _pause(_soon(trial.redis_process), _AWAY)


def restart_redis(trial: Trial, _chance: random.Random) -> bool:
    """SIGKILL the broker; it comes back with its data."""
    return _restart_redis(trial, forget=False)


def restart_redis_empty(trial: Trial, _chance: random.Random) -> bool:
    """SIGKILL the broker; it comes back without its data."""
    return _restart_redis(trial, forget=True)


def _restart_redis(trial: Trial, *, forget: bool) -> bool:
    folder = trial.settings.home / ("redis" if trial.redis_server is None else "separate-redis")
    process = _soon(trial.redis_process)
    if process is None or not _kill(process):
        return False
    if trial.redis_server is not None:
        trial.redis_server.wait(10)
    else:
        with suppress(psutil.NoSuchProcess):
            process.wait(10)
    if forget:
        for path in list(folder.iterdir()):
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    if trial.redis_server is not None:  # the embedded one is started again by `up`
        trial.start_redis()
    return True


def purge_messages(trial: Trial, _chance: random.Random) -> bool:
    """Throw away every message that waits."""
    with suppress(RedisError), trial.redis() as client:
        return bool(_soon(lambda: client.delete(f"{trial.settings.broker_prefix}{WORK_QUEUE}")))
    return False


def double_messages(trial: Trial, _chance: random.Random) -> bool:
    """Deliver every message that waits three times, in another order."""
    key = f"{trial.settings.broker_prefix}{WORK_QUEUE}"
    with suppress(RedisError), trial.redis() as client:
        messages = _soon(lambda: client.lrange(key, 0, -1))
        for message in reversed(messages):
            client.rpush(key, message, message)
        return bool(messages)
    return False


def lock_database(trial: Trial, _chance: random.Random) -> bool:
    """Another program writes into SQLite and takes its time."""
    file = trial.settings.database_url.removeprefix("sqlite:///")
    connection = sqlite3.connect(file, timeout=30, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        time.sleep(_AWAY)
        connection.execute("ROLLBACK")
    finally:
        connection.close()
    return True


def restart_postgresql(trial: Trial, _chance: random.Random) -> bool:
    """Stop PostgreSQL as a power cut would, and start it again."""
    process = trial.postgres.get_postmaster_info().process
    process.send_signal(signal.SIGQUIT)  # "immediate": no checkpoint, recovery at the next start
    process.wait(30)
    time.sleep(_AWAY)
    trial.postgres.ensure_postgres_running()
    return True


def unmount_inbox(trial: Trial, _chance: random.Random) -> bool:
    """Take the inbox away, as a share that is unmounted, and bring it back."""
    inbox = trial.settings.inbox
    away = inbox.with_name("inbox-away")
    inbox.rename(away)
    time.sleep(_AWAY)
    if inbox.is_dir():  # somebody made a new one meanwhile, and files may have come
        for path in inbox.iterdir():
            path.rename(away / path.name)
        inbox.rmdir()
    away.rename(inbox)
    return True


def fill_store(trial: Trial, _chance: random.Random) -> bool:
    """Leave no room on the disk of the originals for a while."""
    return _fill(trial.store_disk)


def fill_inbox(trial: Trial, _chance: random.Random) -> bool:
    """Leave no room on the disk of the inbox and its siblings for a while."""
    return _fill(trial.inbox_disk)


def _fill(disk: Disk | None) -> bool:
    if disk is None:
        return False
    disk.fill()
    try:
        time.sleep(_AWAY)
    finally:
        disk.make_room()
    return True


FAULTS = (
    Fault("pool process killed", kill_pool_process),
    Fault("whole worker killed", kill_worker),
    Fault("watcher killed", kill_inbox),
    Fault("web process killed", kill_web),
    Fault("beat killed", kill_beat),
    Fault("`up` killed and started again", kill_up),
    Fault("pool process paused beyond its lease", pause_pool_process),
    Fault("Redis killed, back with its data", restart_redis),
    Fault("Redis killed, back empty", restart_redis_empty),
    Fault("Redis paused", pause_redis),
    Fault("messages thrown away", purge_messages),
    Fault("messages doubled and reordered", double_messages),
    Fault("database locked", lock_database, (EMBEDDED,)),
    Fault("PostgreSQL stopped and started", restart_postgresql, (DEPARTMENT,)),
    Fault("inbox away and back", unmount_inbox),
    Fault("disk of the originals full", fill_store, needs_disks=True),
    Fault("disk of the inbox full", fill_inbox, needs_disks=True),
)
