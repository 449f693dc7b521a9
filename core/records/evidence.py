"""What is known of a worker process's death: for the audit trail, and in words for a person."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import Any

#: Where a process can be with a batch in hand, in this order.
STAGES = ("claimed", "reading", "decoding", "inferring", "storing")


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Of one death; None stands for what nobody saw."""

    stage: str | None = None  # the last of `STAGES`
    job_id: int | None = None  # the one that was being read or decoded; None: the whole batch
    exit_code: int | None = None  # as `subprocess` has it: below zero minus the signal
    peak_memory_bytes: int | None = None  # the most that was resident in the process's life
    limit_seconds: float | None = None  # the time limit for which it was killed

    @property
    def before_any_job(self) -> bool:
        """Whether it came before the first byte of a job was touched, while the network was being loaded."""
        return self.stage == STAGES[0]

    def detail(self, job_id: int) -> dict[str, Any]:
        """Return what the audit trail keeps for one of the batch's jobs."""
        return {
            "stage": self.stage,
            "in_hand": None if self.job_id is None else self.job_id == job_id,
            "exit_code": self.exit_code,
            "signal": self.signal,
            "peak_memory_mib": None if self.peak_memory_bytes is None else round(self.peak_memory_bytes / 2**20),
            "limit_seconds": self.limit_seconds,
        }

    def words(self) -> str:
        """Say how it ended, without a subject: "ended by SIGSEGV while decoding, ..."."""
        if self.limit_seconds is not None:
            end = f"killed for a batch that took longer than {self.limit_seconds:g} s"
        elif self.signal:
            end = f"ended by {self.signal}"
        elif self.exit_code is not None:
            end = f"ended with exit code {self.exit_code}"
        else:
            end = "gone without a trace of its end"
        stage = f", while {self.stage}" if self.stage in STAGES[1:] else ""
        memory = f", with up to {self.peak_memory_bytes / 2**20:.0f} MiB of memory" if self.peak_memory_bytes else ""
        return end + stage + memory

    @property
    def signal(self) -> str | None:
        """The signal's name."""
        if self.exit_code is None or self.exit_code >= 0:
            return None
        try:
            return signal.Signals(-self.exit_code).name
        except ValueError:
            return f"signal {-self.exit_code}"


NOTHING_KNOWN = Evidence()
