"""Celery's consumer, made to survive the loss of the broker whatever the dead connection says while it is closed.

Measured with celery 5.7.0 and kombu 5.7.0, Redis killed under a worker that was taking messages: kombu fails with an
AttributeError where Celery expects a connection error, when it hands messages back and when it acknowledges one later.
Celery then takes the error for a bug, begins to stop, fails once more, and hangs: no worker takes work any more, and no
supervisor sees a death. Bells need no such care: one that is lost is rung again by the reconciler.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from celery.worker.consumer import Consumer

log = logging.getLogger(__name__)


#: How often the loop shows that it turns.
_TURN_SECONDS = 1.0


@dataclass
class Turning:
    """Whether this process takes bells: told by the loop that takes them, for a thread that passes it on."""

    turned_at: float | None = None  # of the steady clock; None: not yet
    connected: bool = False

    def turn(self) -> None:
        """Note that the loop turns, which it does only with a connection to the broker."""
        self.turned_at, self.connected = time.monotonic(), True


#: Of this process's one consumer.
turning = Turning()


class PatientConsumer(Consumer):  # type: ignore[misc]  # Celery ships no types
    """Connects again, also when nothing can be said to the lost connection any more."""

    def start(self) -> None:
        """Consume until told to stop; on an error that nobody expected end the process at once.

        Celery would stop the pool in order first, and was seen to hang there. The supervisor starts another worker,
        the pool's processes die with this one, and their leases run out.
        """
        try:
            super().start()
        except Exception:
            log.critical("The worker met an error that it cannot mend; it ends and is started again.", exc_info=True)
            logging.shutdown()
            os._exit(1)

    def register_with_event_loop(self, hub: Any) -> None:
        """Be told at the start of each loop; its timers end with it."""
        super().register_with_event_loop(hub)
        hub.call_repeatedly(_TURN_SECONDS, turning.turn)
        turning.turn()

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Close the lost connection; closing hands unacknowledged messages back to a broker that is gone."""
        turning.connected = False
        try:
            super().on_connection_error_after_connected(exc)
        except Exception as error:
            log.warning("The lost broker connection could not be closed in order (%r); connecting again.", error)
            self.connection = None

    def call_soon_ack(self, p: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Have the event loop acknowledge or reject a message; by then its connection may be lost."""

        def run() -> Any:
            try:
                return p(*args, **kwargs)
            except Exception as error:
                log.warning("A message of a lost broker connection could not be acknowledged (%r).", error)
                return None

        return super().call_soon_ack(run)
