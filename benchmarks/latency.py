"""Single uploads through the web API: from the end of the upload to the stored prediction, idle and in a bulk drop."""

from __future__ import annotations

import http.client
import json
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from sqlalchemy import select

from benchmarks.bare_loop import one_by_one
from benchmarks.measured import Measured, Part, ratio
from benchmarks.pictures import Pictures
from benchmarks.system import BenchmarkFailed, System, running, wait_until
from core.bundle import Bundle
from core.tables import JobRow, JobStatus, Source

#: Longest time for one answer, in seconds.
_PATIENCE = 60.0
#: Pause between two looks at the database: the error of every time measured here.
_LOOK_EVERY = 0.001
_PERCENTILES = (50, 95, 99)


def measure_latency(
    place: Path, bundle: Bundle, models: Path, pictures: Pictures, *, rounds: int, files: int, singles: int
) -> Part:
    """Upload one radiograph after another, first on an idle system, then while a bulk drop is worked off.

    Args:
        place: An empty folder.
        bundle: The network, for the bare time.
        models: A folder that holds this bundle alone, for the system.
        pictures: Supply files.
        rounds: How many turns count; one before them does not.
        files: Of each bulk drop.
        singles: Uploads of each turn on the idle system.

    Raises:
        BenchmarkFailed: An answer does not come.
    """
    values: dict[str, list[float]] = {}
    with running(place / "home", models) as system:
        for turn in range(rounds + 1):
            bare = float(np.median(one_by_one(bundle, list(pictures.make(singles)))))
            idle = list(_answered(system, pictures, singles))
            alone = _bulk_rate(system, pictures.write(place / f"alone-{turn}", files))
            busy: list[float] = []
            beside = _bulk_rate(system, pictures.write(place / f"beside-{turn}", files), pictures, busy)
            if not busy:
                raise BenchmarkFailed("The bulk drop was over before the first upload; name more --files.")
            found = {"bare": bare, "bulk alone": alone, "bulk beside uploads": beside}
            found |= {f"idle p{each}": float(np.percentile(idle, each)) for each in _PERCENTILES}
            found |= {f"in bulk p{each}": float(np.percentile(busy, each)) for each in _PERCENTILES}
            for name, value in found.items():
                values.setdefault(name, []).extend([value] if turn else [])
    figures = {
        name: Measured(name, "images/s" if name.startswith("bulk") else "ms", tuple(found))
        for name, found in values.items()
    }
    allowed = Measured("3 x bare + 50 ms", "ms", tuple(3 * each + 50 for each in values["bare"]))
    for each in (
        allowed,
        ratio("idle p50 / (3 x bare + 50 ms)", figures["idle p50"], allowed),
        ratio("bulk beside uploads / alone", figures["bulk beside uploads"], figures["bulk alone"]),
    ):
        figures[each.name] = each
    rows = tuple((each.name, each.unit, each.shown(2 if each.unit == "ratio" else 1)) for each in figures.values())
    notes = (
        f"{singles} uploads a turn on the idle system, one after another all through a drop of {files} files; from the "
        "moment at which the upload has been sent to the moment at which another process reads the answer in the "
        f"database. Bare: decoding and network alone. {pictures.words}.",
    )
    return Part("Latency of single uploads", ("", "unit", "median (range) of the turns"), rows, notes, figures)


def _bulk_rate(
    system: System, files: list[Path], pictures: Pictures | None = None, latencies: list[float] | None = None
) -> float:
    """Work off a drop, perhaps with uploads beside it; return its images per second."""
    before, ended = system.newest(), system.ended()
    system.drop(files)
    if pictures is not None and latencies is not None:
        wait_until(lambda: system.ended() > ended, _PATIENCE, "the first of a bulk drop is answered")
        while system.ended() < ended + len(files):
            latencies += _answered(system, pictures, 1)
    system.wait_for(ended + len(files) + len(latencies or ()))
    return len(files) / system.seconds_since(before, source=Source.INBOX)


def _answered(system: System, pictures: Pictures, count: int) -> Iterator[float]:
    """Upload one by one; yield for each the milliseconds to its stored answer."""
    connection = http.client.HTTPConnection("127.0.0.1", system.settings.port, timeout=_PATIENCE)
    try:
        for content in pictures.make(count):
            body, content_type = multipart(content)
            connection.request("POST", "/api/v1/radiographs", body, {"Content-Type": content_type})
            sent = time.monotonic()
            answer = connection.getresponse()
            document = json.loads(answer.read())
            if answer.status != 202:
                raise BenchmarkFailed(f"An upload was answered with {answer.status}.")
            (file,) = document["files"]
            _wait_for(system, file["radiographs"][0], sent)
            yield (time.monotonic() - sent) * 1000
    finally:
        connection.close()


def _wait_for(system: System, radiograph_id: int, since: float) -> None:
    query = select(JobRow.status).where(JobRow.radiograph_id == radiograph_id)
    while True:
        with system.database.reading() as session:
            statuses = set(session.scalars(query))
        if statuses == {JobStatus.DONE}:
            return
        if time.monotonic() - since > _PATIENCE or statuses - {JobStatus.WAITING, JobStatus.RUNNING, JobStatus.DONE}:
            raise BenchmarkFailed(f"An upload was not answered: {', '.join(sorted(statuses))}.")
        time.sleep(_LOOK_EVERY)


def multipart(content: bytes) -> tuple[bytes, str]:
    """Return the body of an upload of one JPEG and its content type."""
    boundary = uuid.uuid4().hex
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="one.jpg"\r\n'
        "Content-Type: image/jpeg\r\n\r\n"
    )
    return head.encode() + content + f"\r\n--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"
