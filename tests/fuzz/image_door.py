"""Put damaged pictures through the image door, in a process of its own that is measured and may be killed.

`python -W error -m tests.fuzz.image_door FOLDER SEED FIRST COUNT` prints a JSON document of what happened.
"""

from __future__ import annotations

import faulthandler
import hashlib
import json
import os
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from sqlalchemy import select

from core import images
from core.database import Database
from core.errors import RejectedImage
from core.home import prepare_home
from core.ingest import Incoming, Ingest
from core.preprocessing import read_model_input
from core.records.intake import Submission
from core.schema import migrate
from core.settings import Settings
from core.storage import FolderStore
from core.tables import ArrivalStatus, RadiographRow, Source
from tests.conftest import add_model
from tests.fuzz.damage import damaged
from worker.notes import peak_memory_of

#: An input that needs longer than this ends the process with a traceback.
LIMIT_SECONDS = 60
_AT_ONCE = 32
_SIDE = 224


def examine(data: bytes, max_pixels: int) -> str:
    """Read one input in all three ways; return how that ended."""
    try:
        facts = images.inspect(data, max_pixels=max_pixels)
    except RejectedImage as problem:
        return _refused("door", problem)
    # Of many pages the first and the last; between them the file is the same.
    for frame in {0, len(facts.frames) - 1}:
        try:
            pixels = images.decode(data, max_pixels=max_pixels, frame=frame)
        except RejectedImage as problem:
            return _refused("decoding", problem)
        picture = read_model_input(data, side=_SIDE, channels=3, max_pixels=max_pixels, frame=frame)
        if pixels.dtype.name != "uint8" or pixels.ndim != 2 or picture.shape != (_SIDE, _SIDE, 3):
            raise AssertionError(f"read as {pixels.dtype} {pixels.shape}, input {picture.shape}")
        if sorted(pixels.shape) != sorted((facts.frames[frame].width, facts.frames[frame].height)):
            raise AssertionError(f"{pixels.shape} was announced as {facts.frames[frame]}")
    return "read"


def _refused(stage: str, problem: RejectedImage) -> str:
    if not str(problem).endswith("."):
        raise AssertionError(f"no sentence: {problem}")
    return f"{stage}: {problem.code}"


def main(folder: Path, seed: int, first: int, count: int) -> dict[str, Any]:
    """Examine `count` inputs, then send them through `Ingest.take`; return what happened."""
    settings = Settings(home=folder / "home")
    prepare_home(settings)
    database = Database(settings.database_url)
    migrate(database)
    add_model(database, "model")
    store = FolderStore.at(settings.store_url)
    ingest = Ingest(settings, database, store, lambda _: None)
    outcomes: Counter[str] = Counter()
    faults: list[dict[str, Any]] = []
    slowest, accepted = (0.0, -1), set()
    chunk: list[Incoming] = []
    for number in range(first, first + count):
        data = damaged(seed, number)
        # Should the process die, this tells which input it was.
        (folder / "current").write_text(str(number))
        faulthandler.dump_traceback_later(LIMIT_SECONDS, exit=True)
        began = time.process_time()
        try:
            outcomes[examine(data, settings.max_pixels)] += 1
        except Exception as error:
            faults.append({"number": number, "error": f"{type(error).__name__}: {error}"})
        faulthandler.cancel_dump_traceback_later()
        slowest = max(slowest, (time.process_time() - began, number))
        chunk.append(Incoming(name=f"{number}.png", data=data, size=len(data)))
        if len(chunk) == _AT_ONCE or number == first + count - 1:
            intake = ingest.take(Submission(source=Source.COMMAND), chunk)
            taken = zip(intake.arrivals, chunk, strict=True)
            accepted |= {_sha256(file.data) for arrival, file in taken if arrival.status == ArrivalStatus.ACCEPTED}
            chunk = []
    # Of DICOM, what is stored is not what came.
    with database.reading() as session:
        rows = session.execute(select(RadiographRow.sha256, RadiographRow.stored_sha256))
        stored = {row.sha256: row.stored_sha256 for row in rows}
    accepted = {stored.get(digest) or digest for digest in accepted}
    kept = {path.name: _sha256(path.read_bytes()) for path in store.folder.rglob("*") if path.is_file()}
    return {
        "inputs": count,
        "outcomes": dict(outcomes.most_common()),
        "faults": faults,
        "slowest_seconds": round(slowest[0], 2),
        "slowest_number": slowest[1],
        "store_is_what_was_accepted": kept == {digest: digest for digest in accepted},
        # Not `getrusage`, whose peak goes on counting from that of the process which started this one.
        "peak_bytes": peak_memory_of(os.getpid()),
    }


def _sha256(data: bytes | None) -> str:
    return hashlib.sha256(data or b"").hexdigest()


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), *map(int, sys.argv[2:]))))  # noqa: T201
