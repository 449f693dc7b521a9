"""A role that kills itself at one step: `python -m tests.integration.dying ROLE STEP`, with the settings of `ROLE`.

The steps are functions; death comes before or after the first call, as SIGKILL, so that nothing is tidied up.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from dataclasses import dataclass
from typing import Any

from cli.main import main


@dataclass(frozen=True)
class Step:
    """One moment to die at."""

    module: str
    name: str  # of a function, or of a class and its method
    after: bool = True  # the call has returned; else it is about to begin


#: On the way in, whoever takes a file.
INTAKE = {
    "nothing stored": Step("core.ingest", "Ingest.take", after=False),
    "original half-written": Step("core.storage", "os.fsync", after=False),
    "original stored": Step("core.storage", "FolderStore.put"),
    "rows written, not committed": Step("core.ingest", "record_intake"),
    "rows committed, not announced": Step("core.announce", "ring", after=False),
    "announced, nobody told": Step("core.ingest", "Ingest.take"),
}
#: The inbox's way from claim to settle.
INBOX = {
    "folder made, file not claimed": Step("worker.custody", "move", after=False),
    "file claimed": Step("worker.custody", "Processing.claim"),
    **INTAKE,
    "work ended, file not moved": Step("worker.inbox", "put_away", after=False),
    "reason written, file in both places": Step("worker.inbox", "write_reason"),
    "file moved, folder left": Step("worker.custody", "move_aside"),
    "file settled, not marked": Step("worker.inbox", "mark_settled", after=False),
    "marked, not committed": Step("worker.inbox", "mark_settled"),
}


def die_at(step: Step) -> None:
    """Put death into a function's place."""
    place: Any = importlib.import_module(step.module)
    *owners, name = step.name.split(".")
    for owner in owners:
        place = getattr(place, owner)
    function = getattr(place, name)

    def dying(*arguments: Any, **options: Any) -> None:
        if step.after:
            function(*arguments, **options)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(place, name, dying)


if __name__ == "__main__":
    _, role, wanted = sys.argv
    die_at(INBOX[wanted])
    main([role])
