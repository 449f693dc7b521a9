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

import psutil

from chaos.trial import BACK_ENDS, DEPARTMENT, EMBEDDED, Trial, wait_until
from core.queue import WORK_QUEUE

#: How long parts are away or paused, in seconds.
_AWAY = 3.0


@dataclass(frozen=True)
class Fault:
    """One kind of trouble."""

    name: str
    strike: Callable[[Trial, random.Random], None]  # returns when what it does is over
    back_ends: tuple[str, ...] = BACK_ENDS


def _kill(process: psutil.Process | None) -> None:
    if process is not None:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def kill_pool_process(trial: Trial, chance: random.Random) -> None:
    """SIGKILL one of the processes that classify."""
    pool = trial.pool()
    _kill(chance.choice(pool) if pool else None)


def kill_worker(trial: Trial, _chance: random.Random) -> None:
    """SIGKILL the worker's main process; its pool dies with it."""
    _kill(trial.role("worker"))


def kill_inbox(trial: Trial, _chance: random.Random) -> None:
    """SIGKILL the watcher, at whatever step it is."""
    _kill(trial.role("inbox"))


def kill_web(trial: Trial, _chance: random.Random) -> None:
    """SIGKILL the page and API, perhaps in the middle of an upload."""
    _kill(trial.role("web"))


def kill_beat(trial: Trial, _chance: random.Random) -> None:
    """SIGKILL the clock that calls the reconciler."""
    _kill(trial.role("beat"))


def kill_up(trial: Trial, _chance: random.Random) -> None:
    """SIGKILL the supervisor, and everything with it; a person starts it again."""
    trial.stop(signal.SIGKILL)
    trial.start()


def pause_pool_process(trial: Trial, chance: random.Random) -> None:
    """SIGSTOP a process beyond its lease, then let it go on."""
    pool = trial.pool()
    if not pool:
        return
    process = chance.choice(pool)
    with suppress(psutil.NoSuchProcess):
        process.suspend()
        time.sleep(trial.settings.lease_seconds + 2 * trial.settings.reconcile_seconds)
        process.resume()


def pause_redis(trial: Trial, _chance: random.Random) -> None:
    """SIGSTOP the broker for a while."""
    process = trial.redis_process()
    if process is None:
        return
    with suppress(psutil.NoSuchProcess):
        process.suspend()
        time.sleep(_AWAY)
        process.resume()


def restart_redis(trial: Trial, _chance: random.Random) -> None:
    """SIGKILL the broker; it comes back with its data."""
    _restart_redis(trial, forget=False)


def restart_redis_empty(trial: Trial, _chance: random.Random) -> None:
    """SIGKILL the broker; it comes back without its data."""
    _restart_redis(trial, forget=True)


def _restart_redis(trial: Trial, *, forget: bool) -> None:
    folder = trial.settings.home / ("redis" if trial.redis_server is None else "separate-redis")
    process = trial.redis_process()
    _kill(process)
    if process is not None:
        with suppress(psutil.NoSuchProcess):
            process.wait(10)
    if forget:
        for path in list(folder.iterdir()):
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    if trial.redis_server is not None:
        trial.redis_server.wait(10)
        trial.start_redis()
    wait_until(trial.redis_answers, "Redis answers again")


def purge_messages(trial: Trial, _chance: random.Random) -> None:
    """Throw away every message that waits."""
    with trial.redis() as client:
        client.delete(f"{trial.settings.broker_prefix}{WORK_QUEUE}")


def double_messages(trial: Trial, _chance: random.Random) -> None:
    """Deliver every message that waits three times, in another order."""
    key = f"{trial.settings.broker_prefix}{WORK_QUEUE}"
    with trial.redis() as client:
        for message in reversed(client.lrange(key, 0, -1)):
            client.rpush(key, message, message)


def lock_database(trial: Trial, _chance: random.Random) -> None:
    """Another program writes into SQLite and takes its time."""
    file = trial.settings.database_url.removeprefix("sqlite:///")
    connection = sqlite3.connect(file, timeout=30, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        time.sleep(_AWAY)
        connection.execute("ROLLBACK")
    finally:
        connection.close()


def restart_postgresql(trial: Trial, _chance: random.Random) -> None:
    """Stop PostgreSQL as a power cut would, and start it again."""
    process = trial.postgres.get_postmaster_info().process
    process.send_signal(signal.SIGQUIT)  # "immediate": no checkpoint, recovery at the next start
    process.wait(30)
    time.sleep(_AWAY)
    trial.postgres.ensure_postgres_running()


def unmount_inbox(trial: Trial, _chance: random.Random) -> None:
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
)
