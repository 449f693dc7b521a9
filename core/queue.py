"""The doorbell: Celery's application, and the one message that says "there is work".

A message carries no identifiers, only a count for people who read Flower; the worker asks the database *what*. So a
lost, doubled or reordered message changes nothing. The application is at module level and configured from the
environment, because processes under the spawn start method import it anew.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from celery import Celery
from celery.exceptions import CeleryError
from celery.schedules import schedule
from kombu.connection import Connection
from kombu.exceptions import KombuError
from kombu.messaging import Producer
from redis.exceptions import RedisError

from core.broker_sight import Bells
from core.errors import BrokerUnavailable
from core.settings import Settings

log = logging.getLogger(__name__)

WORK_QUEUE = "work"  # bells
UPKEEP_QUEUE = "upkeep"  # the reconciler's ticks; apart, so that they never stand behind thousands of bells
WORK_TASK = "fracture.work"
RECONCILE_TASK = "fracture.reconcile"
#: How far apart the clocks of beat's machine and a worker's may be.
_TICK_EXPIRES_SECONDS = 600.0
#: Most bells for one call; every bell's task goes on until nothing waits, so more would only ring into the void.
MOST_BELLS = 64


def configuration(settings: Settings) -> dict[str, Any]:
    """Return Celery's settings; TRAPS of other systems that each one avoids are named beside it."""
    transport = {
        "global_keyprefix": settings.broker_prefix,  # two installations on one Redis
        # A message hidden for less time than its task runs would be delivered again and again (celery#5935).
        "visibility_timeout": settings.visibility_seconds,
        # A dead worker's unacknowledged messages come back within seconds; the defaults take 100 s.
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
        # A bell that was taken is gone. Otherwise a task that ends after Redis died is acknowledged on the dead
        # connection, and kombu 5.7's AttributeError ends the worker (measured, each time that one process worked and
        # another waited). A lost bell is rung again by the reconciler.
        "ack_emulation": False,
        # Notice a silent connection instead of waiting for ever (celery#10302).
        "health_check_interval": 10,
        "socket_connect_timeout": 2,
        # A broker that hangs: an upload waits for two such times until it says so, and beat must turn meanwhile.
        "socket_timeout": 5,
        "socket_keepalive": True,
        # Without a bound, publishing to a dead broker blocks its caller for ever.
        "max_retries": 1,
        "interval_start": 0,
        "interval_step": 0.1,
        "interval_max": 0.2,
    }
    return {
        "broker_url": settings.broker_url,
        "broker_transport_options": transport,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        # A Redis whose disk is full answers each command with an error (MISCONF); by default that ends the worker.
        "broker_channel_error_retry": True,
        "result_backend": None,  # results are rows
        "task_ignore_result": True,
        "accept_content": ["json"],
        "task_serializer": "json",
        "task_default_queue": WORK_QUEUE,
        "task_routes": {RECONCILE_TASK: {"queue": UPKEEP_QUEUE}},
        "task_acks_late": True,
        "task_track_started": True,
        "task_time_limit": settings.task_limit_seconds,
        "worker_prefetch_multiplier": 1,
        "worker_cancel_long_running_tasks_on_connection_loss": False,  # the lease, not the message, guards the work
        "worker_pool": "worker.pool:WitnessedPool",
        "worker_consumer": "worker.consumer:PatientConsumer",
        "worker_concurrency": settings.processes,
        # A network built before a fork hangs in the child (keras#12531).
        "worker_pool_start_method": "spawn",
        # A child that needs longer than this to start is killed in a loop (4 s by default).
        "worker_proc_alive_timeout": 60,
        "worker_soft_shutdown_timeout": settings.stop_seconds / 2,
        "worker_enable_remote_control": True,
        "worker_send_task_events": True,
        "task_send_sent_event": True,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "timezone": "UTC",
        "enable_utc": True,
        "beat_schedule": {
            "reconcile": {
                "task": RECONCILE_TASK,
                # By the steady clock: beat would fall silent for an hour when the machine's clock is put back by one.
                "schedule": schedule(timedelta(seconds=settings.reconcile_seconds), nowfun=_steady_now),
                # A tick that nobody took in time is worthless; without this they pile up while no worker runs. Not
                # sooner, because it is judged by the clock of the machine that takes it: a worker whose clock was
                # some seconds ahead of beat's would throw every tick away.
                "options": {"expires": _TICK_EXPIRES_SECONDS},
            }
        },
        "beat_max_loop_interval": min(5.0, settings.reconcile_seconds),
    }


#: The moment at which the steady clock showed nought.
_BEGINNING = datetime.now(UTC) - timedelta(seconds=time.monotonic())


def _steady_now() -> datetime:
    """Return a time that goes on evenly, whatever people and NTP do to the machine's clock."""
    return _BEGINNING + timedelta(seconds=time.monotonic())


app = Celery("fracture_queue", include=["worker.tasks"])
# A callable: nothing is read before Celery is used.
app.add_defaults(lambda: configuration(Settings.from_env(os.environ)))


class _Line:
    """A connection to a broker that is kept; it ends with its thread, not when the garbage collector comes by."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.producer: Producer = app.amqp.Producer(connection)

    def end(self) -> None:
        """Close it."""
        release(self._connection)

    __del__ = end


class _Lines(threading.local):
    """Each thread's connections to brokers, kept open: making one took 7 % of an upload's time under the profiler."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], _Line] = {}  # by address and key prefix


_lines = _Lines()


def hang_up() -> None:
    """Close this thread's connections to brokers; the end of the thread does so too."""
    _lines.kept.clear()


def release(connection: Connection | None) -> None:
    """Close a connection, if there is one, whatever state it is in."""
    if connection is None:
        return
    try:
        connection.release()  # type: ignore[no-untyped-call]
    except Exception:  # whatever kombu says of one that died; it is gone either way
        log.debug("A dead connection could not be closed in order.", exc_info=True)


def bells_for(jobs: int, settings: Settings, listeners: int | None = None) -> int:
    """Return how many messages announce a number of jobs: one per batch, but no more than there are who listen."""
    return min(listeners or MOST_BELLS, MOST_BELLS, math.ceil(jobs / settings.batch_size))


def ring(jobs: int, settings: Settings, listeners: int | None = None) -> None:
    """Tell the workers that there are new jobs.

    Args:
        jobs: How many.
        settings: Batch size.
        listeners: How many processes work; 0 or None: not known.

    Raises:
        BrokerUnavailable: The broker does not answer. The work is safe in the database.
    """
    bells, where = bells_for(jobs, settings, listeners), (settings.broker_url, settings.broker_prefix)
    if kept := _lines.kept.pop(where, None):
        try:
            _send(kept.producer, bells, jobs)
        except Exception:  # whatever a connection says that died since the last bell; kombu 5.7 even AttributeError
            log.info("The connection to the broker was lost; ringing on a new one.")
            kept.end()
        else:
            _lines.kept[where] = kept
            return
    line = _Line(app.connection_for_write())
    try:
        _send(line.producer, bells, jobs)
    except (OSError, KombuError, CeleryError, RedisError) as error:
        line.end()
        raise BrokerUnavailable from error
    _lines.kept[where] = line


def _send(producer: Producer, bells: int, jobs: int) -> None:
    for _ in range(bells):
        app.send_task(WORK_TASK, kwargs={"waiting": jobs}, producer=producer, retry=False)


def count_bells(connection: Connection) -> Bells:
    """Count them on a connection that the caller keeps; see `announced`.

    Raises:
        BrokerUnavailable: The broker does not answer.
    """
    try:
        channel = connection.default_channel
        count = app.amqp.queues[WORK_QUEUE](channel).queue_declare().message_count
        # Redis alone says so: kombu keeps them in one hash.
        key = getattr(channel, "unacked_key", None)
        unacknowledged = None if key is None else int(channel.client.hlen(key))  # type: ignore[attr-defined]
        return Bells(announced=count, unacknowledged=unacknowledged)
    except (OSError, KombuError, CeleryError, RedisError) as error:
        raise BrokerUnavailable from error


def announced() -> int:
    """Return how many bells the broker holds that no worker has taken.

    By declaring the queue as it is: a passive declaration would never find it, because kombu 5.7 forgets the key
    prefix when it asks Redis whether a queue exists.

    Raises:
        BrokerUnavailable: The broker does not answer.
    """
    try:
        with app.connection_for_read() as connection:
            count: int = app.amqp.queues[WORK_QUEUE](connection.default_channel).queue_declare().message_count
            return count
    except (OSError, KombuError, CeleryError, RedisError) as error:
        raise BrokerUnavailable from error
