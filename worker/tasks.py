"""The Celery tasks: thin shells around plain functions, one context per worker process."""

from __future__ import annotations

import logging
import os
import signal
from typing import Any

from billiard.process import active_children
from celery.signals import (
    setup_logging,
    worker_init,
    worker_process_init,
    worker_process_shutdown,
    worker_ready,
    worker_shutting_down,
)

from core.errors import BrokerUnavailable, ConfigurationError, ModelError, Unavailable
from core.logs import configure_logging
from core.queue import RECONCILE_TASK, WORK_TASK, app, ring
from core.settings import Settings
from worker.batching import work_off
from worker.context import WorkerContext
from worker.look_alikes import find_look_alikes
from worker.notes import Notebook, note_path
from worker.parent_death import die_with_parent
from worker.pulse import Pulse
from worker.reconciler import reconcile

log = logging.getLogger(__name__)

#: Asks a pool process to finish its batch and take no other. Ignored until a process has its handler.
_STOP_SIGNAL = signal.SIGUSR2

_process: tuple[WorkerContext, Pulse] | None = None


@app.task(name=WORK_TASK)
def work(*_words: Any, **_more: Any) -> int:
    """Classify what waits; return how many jobs ended.

    What a message carries is for people who read Flower; another version of this program may send something else.
    """
    context, pulse = _this_process()
    pulse.stir()
    try:
        worked = work_off(context, pulse)
    except (ModelError, ConfigurationError):
        log.exception("A model cannot be used here; its jobs wait for a worker that can.")
        return 0
    except Unavailable as error:
        log.warning("%s The work waits and is announced again.", error)
        return 0
    except MemoryError:
        # Handed on, it would end the worker's main process as well (celery 5.7). As a death it is counted and seen.
        log.critical("The process is out of memory with a batch in hand; it ends.", exc_info=True)
        logging.shutdown()
        os._exit(1)
    if not worked.emptied:
        try:
            ring(1, context.settings)
        except BrokerUnavailable as error:
            log.warning("%s The reconciler rings later.", error)
    return worked.jobs


@app.task(name=RECONCILE_TASK)
def reconcile_tick(*_words: Any, **_more: Any) -> None:
    """Look for lost work, and where none waits for look-alikes."""
    context, pulse = _this_process()
    pulse.stir()
    try:
        reconcile(context.settings, context.database, str(context.identity))
        find_look_alikes(context.settings, context.database, context.store)
    except Unavailable as error:
        log.warning("%s The next tick tries again.", error)


def _this_process() -> tuple[WorkerContext, Pulse]:
    global _process
    if _process is None:
        context = WorkerContext.of(Settings.from_env(os.environ))
        _process = (context, Pulse(context))
        _process[1].start()
    return _process


@worker_init.connect
def _before_pool(**_: Any) -> None:
    # Ignoring survives the exec of the spawn start method, so a child without its handler is not killed by the signal.
    signal.signal(_STOP_SIGNAL, signal.SIG_IGN)


@worker_process_init.connect
def _on_process_start(**_: Any) -> None:
    die_with_parent()
    context, _pulse = _this_process()
    configure_logging("worker", context.settings.log_format)
    context.notes = Notebook(note_path(context.settings.runtime, os.getpid()))

    def ask_to_stop(_number: int, _frame: Any) -> None:
        context.stopping = True

    signal.signal(_STOP_SIGNAL, ask_to_stop)


@worker_process_shutdown.connect
def _on_process_end(**_: Any) -> None:
    if _process is not None:
        _process[1].stop()
        note_path(_process[0].settings.runtime, os.getpid()).unlink(missing_ok=True)


@worker_shutting_down.connect
def _on_polite_stop(**_: Any) -> None:
    for child in active_children():
        os.kill(child.pid, _STOP_SIGNAL)


@worker_ready.connect
def _on_ready(**_: Any) -> None:
    # What was announced while no worker ran may have been lost with the broker's data.
    app.send_task(RECONCILE_TASK, retry=False)


@setup_logging.connect
def _keep_our_logging(**_: Any) -> None:
    """Tell Celery, by being connected, to leave logging alone."""
