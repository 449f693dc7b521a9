"""Files into rows and store: through the inbox, and through the API with clients side by side. Nobody classifies."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sqlalchemy import func, select

from benchmarks.latency import multipart
from benchmarks.measured import Measured, Part, ratio
from benchmarks.pictures import Pictures
from benchmarks.system import BenchmarkFailed, System, paused, running, wait_until
from core.tables import RadiographRow

_CLIENTS = 16
_PATIENCE = 120.0


def measure_ingest(place: Path, models: Path, pictures: Pictures, *, rounds: int, files: int) -> Part:
    """Let inbox, API and the bare minimum take turns.

    Args:
        place: An empty folder on the disk that is to be measured.
        models: Bundles; what comes in waits for them for ever.
        pictures: Supply files.
        rounds: How many turns count; one before them does not.
        files: Each turn.

    Raises:
        BenchmarkFailed: What was sent does not arrive.
    """
    values: dict[str, list[float]] = {}
    with running(place / "home", models) as system, paused(system.processes("worker")):
        for turn in range(rounds + 1):
            found = {
                "hash, copy, sync (no rows)": _bare(
                    pictures.write(place / f"bare-{turn}", files), place / f"kept-{turn}"
                ),
                "inbox": _inbox(system, pictures.write(place / f"drop-{turn}", files)),
                f"API, {_CLIENTS} clients": _clients(system, list(pictures.make(files))),
            }
            for name, rate in found.items():
                values.setdefault(name, []).extend([rate] if turn else [])
    figures = {name: Measured(name, "files/s", tuple(rates)) for name, rates in values.items()}
    bare, *doors = figures.values()
    for door in doors:
        name = f"{door.name} / bare"
        figures[name] = ratio(name, door, bare)
    rows = tuple((each.name, each.unit, each.shown(2 if each.unit == "ratio" else 0)) for each in figures.values())
    notes = (
        f"{files} files a turn, {pictures.words}. The worker is paused. Inbox: between the first and the last chunk of "
        "rows. API: one file a request, from the first request to the last answer. Bare: one process reads, hashes, "
        "writes and syncs each file, and keeps no rows.",
    )
    return Part("Ingest", ("", "unit", "median (range) of the turns"), rows, notes, figures)


def _bare(files: Sequence[Path], target: Path) -> float:
    target.mkdir()
    started = time.monotonic()
    for file in files:
        data = file.read_bytes()
        with (target / hashlib.sha256(data).hexdigest()).open("xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
    return len(files) / (time.monotonic() - started)


def _inbox(system: System, files: list[Path]) -> float:
    """Files between the first transaction and the last, by the time between them: settling is left out."""
    before = system.newest()
    system.drop(files)
    wait_until(lambda: system.newest() >= before + len(files), _PATIENCE, "the drop is recorded")
    with system.database.reading() as session:
        counts = session.execute(
            select(RadiographRow.received_at, func.count())
            .where(RadiographRow.id > before)
            .group_by(RadiographRow.received_at)
            .order_by(RadiographRow.received_at)
        ).all()
    if len(counts) < 2:
        raise BenchmarkFailed("The drop was recorded in one piece; name more --files.")
    times = [at for at, _ in counts]
    return sum(count for _, count in counts[1:]) / (times[-1] - times[0]).total_seconds()


def _clients(system: System, contents: Sequence[bytes]) -> float:
    started = time.monotonic()
    with ThreadPoolExecutor(_CLIENTS) as pool:
        for accepted in pool.map(
            lambda share: _upload(system.settings.port, share), [contents[n::_CLIENTS] for n in range(_CLIENTS)]
        ):
            if not accepted:
                raise BenchmarkFailed("An upload was refused.")
    return len(contents) / (time.monotonic() - started)


def _upload(port: int, contents: Sequence[bytes]) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE)
    try:
        for content in contents:
            body, content_type = multipart(content)
            connection.request("POST", "/api/v1/radiographs", body, {"Content-Type": content_type})
            answer = connection.getresponse()
            json.loads(answer.read())
            if answer.status != 202:
                return False
    finally:
        connection.close()
    return True
