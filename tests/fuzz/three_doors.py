"""Damaged files through the API, the inbox and the command, and on to the worker's decoding; all in one process.

`python -m tests.fuzz.three_doors 20000` takes a while and prints how many files came by each door, how they ended,
how many answers said 500, what crashed, and the most memory that the process had at once.
"""

from __future__ import annotations

import io
import json
import os
import resource
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from sqlalchemy import func, select

import worker.inbox
import worker.waiting
from cli.commands.submit import submit
from core.records.models import active_models
from core.records.workers import Identity
from core.settings import Settings
from core.store import open_store
from core.tables import ArrivalRow, JobRow, SubmissionRow
from tests.fakes import FakeClassifier, write_bundle
from tests.fuzz.damage import damaged
from tests.fuzz.seeds import SEED
from tests.unit.desk import SETTLE, Clock, Desk
from tests.unit.web_fixtures import Site
from worker.batching import work_off
from worker.context import WorkerContext
from worker.main import register_installed
from worker.notes import peak_memory_of
from worker.pulse import Pulse

DOORS = ("api", "inbox", "command")
#: Files for one door before the next one has its turn; files in one request.
_TURN, _REQUEST = 32, 4

Files = Sequence[tuple[int, bytes]]


class Doors:
    """One installation with all its ways in, and a worker whose network is a stand-in."""

    def __init__(self, folder: Path) -> None:
        settings = Settings(
            home=folder / "home", models=folder / "models", settle_seconds=SETTLE, inbox_done="delete", batch_size=32
        )
        os.environ |= {"FRACTURE_HOME": str(settings.home), "FRACTURE_MODELS": str(settings.models)}
        self.site, clock = Site(settings, model=False), Clock()
        vars(worker.inbox)["time"] = vars(worker.waiting)["time"] = clock
        self.database = self.site.database
        write_bundle(settings.models)
        register_installed(settings, self.database, "test")
        self.desk = Desk(settings, self.database, clock)
        context = WorkerContext(settings, self.database, open_store(settings), Identity("worker", "test", 1))
        with self.database.reading() as session:
            [model] = active_models(session)
        context._classifiers[model.id] = FakeClassifier()
        self._context, self._pulse = context, Pulse(context)
        self.answers: Counter[int] = Counter()
        self._given = folder / "given"

    def api(self, files: Files) -> None:
        for start in range(0, len(files), _REQUEST):
            parts = [(io.BytesIO(data), f"{number}.png") for number, data in files[start : start + _REQUEST]]
            answer = self.site.client.post("/api/v1/radiographs", data={"files": parts})
            self.answers[answer.status_code] += 1

    def inbox(self, files: Files) -> None:
        for number, data in files:
            self.desk.drop(f"{number}.png", data)
        self.desk.take()

    def command(self, files: Files) -> None:
        self._given.mkdir(exist_ok=True)
        for number, data in files:
            (self._given / f"{number}.png").write_bytes(data)
        ended = CliRunner().invoke(submit, [str(self._given), "--json"])
        if ended.exit_code not in (0, 1) or not isinstance(ended.exception, SystemExit | None):
            raise RuntimeError(f"submit ended with {ended.exit_code}: {ended.exception!r}")
        clear(self._given)

    def work(self) -> None:
        """Be the worker, and let the inbox's files leave."""
        while not work_off(self._context, self._pulse).emptied:
            pass
        self.desk.inbox.settle()
        clear(self.desk.settings.failed)

    def ends(self) -> dict[str, int]:
        """Count the jobs by how they ended, and the arrivals that were rejected by why."""
        with self.database.reading() as session:
            jobs = session.execute(
                select(JobRow.status, JobRow.error_code, func.count()).group_by(JobRow.status, JobRow.error_code)
            )
            found = {f"job {status.value} {code or ''}".strip(): count for status, code, count in jobs}
            rejected = select(ArrivalRow.error_code, func.count()).where(ArrivalRow.error_code.is_not(None))
            for code, count in session.execute(rejected.group_by(ArrivalRow.error_code)):
                found[f"rejected {code}"] = count
        return dict(sorted(found.items()))

    def arrivals(self) -> dict[str, int]:
        """Count what came by source."""
        with self.database.reading() as session:
            sources = select(SubmissionRow.source, func.count()).join(ArrivalRow)
            return {source.value: count for source, count in session.execute(sources.group_by(SubmissionRow.source))}


def clear(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def main(folder: Path, seed: int, count: int) -> dict[str, Any]:
    """Send so many files, by turns through each door; return what happened."""
    doors = Doors(folder)
    faults: list[str] = []
    for turn, first in enumerate(range(0, count, _TURN)):
        numbers = range(first, min(first + _TURN, count))
        (folder / "current").write_text(f"{numbers}")  # should the process die, this tells with which files
        door = DOORS[turn % len(DOORS)]
        try:
            getattr(doors, door)([(number, damaged(seed, number)) for number in numbers])
            doors.work()
        except Exception as error:
            faults.append(f"{door}, {numbers}: {type(error).__name__}: {error}")
    # Some decoders of DICOM run in processes of their own.
    of_children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    return {
        "inputs": count,
        "arrivals": doors.arrivals(),
        "ends": doors.ends(),
        "answers": {str(status): number for status, number in sorted(doors.answers.items())},
        "answers_500": sum(number for status, number in doors.answers.items() if status >= 500),
        "faults": faults,
        "peak_mib": round(max(peak_memory_of(os.getpid()) or 0, of_children) / 2**20),
    }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="fracture-fuzz-") as made:
        print(json.dumps(main(Path(made), SEED, int(sys.argv[1])), indent=2))  # noqa: T201
