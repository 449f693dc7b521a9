"""Celery beat's scheduler, which shows that it turns."""

from __future__ import annotations

import os
from typing import Any

from celery.beat import Scheduler

from core.alive import show_life
from core.settings import Settings


class LivingScheduler(Scheduler):  # type: ignore[misc]  # Celery ships no types
    """Celery's in-memory scheduler: the one schedule needs no file, so none can break."""

    def setup_schedule(self) -> None:
        """Prepare."""
        super().setup_schedule()
        self._runtime = Settings.from_env(os.environ).runtime

    def tick(self, *args: Any, **kwargs: Any) -> Any:
        """Send what is due; return the seconds until the next time."""
        show_life(self._runtime, "beat")
        return super().tick(*args, **kwargs)
