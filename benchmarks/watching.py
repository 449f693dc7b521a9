"""What it costs to watch the queue while it works: how soon the page answers, and its share of the processor time."""

from __future__ import annotations

import http.client
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil

from benchmarks.measured import Measured, Part
from benchmarks.pictures import Pictures
from benchmarks.system import System, running, wait_until, without_ours

#: What a page that is open asks for, and how often, as `web/static/queue.js` does; the page itself once a minute.
_FIGURES, _PAGE, _EACH_SECONDS, _PAGE_EVERY = "/api/v1/queue", "/queue", 2.0, 30
_PATIENCE = 120.0


class _Reader:
    """Somebody who has the page open."""

    def __init__(self, system: System) -> None:
        self.figures: list[float] = []  # milliseconds
        self.page: list[float] = []
        self._port = system.settings.port
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop reading."""
        self._closed.set()
        self._thread.join(timeout=_PATIENCE)

    def _read(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_PATIENCE)
        tag, asked = "", 0
        while not self._closed.is_set():
            took, tag = _asked(connection, _FIGURES, tag)
            self.figures.append(took)
            if asked % _PAGE_EVERY == 0:
                self.page.append(_asked(connection, _PAGE, "")[0])
            asked += 1
            self._closed.wait(_EACH_SECONDS)
        connection.close()


def _asked(connection: http.client.HTTPConnection, path: str, tag: str) -> tuple[float, str]:
    began = time.perf_counter()
    connection.request("GET", path, headers={"If-None-Match": tag} if tag else {})
    answer = connection.getresponse()
    answer.read()
    return (time.perf_counter() - began) * 1000, answer.headers.get("ETag", "")


def measure_watching(
    place: Path, models: Path, pictures: Pictures, *, rounds: int, files: int, readers: int = 1
) -> Part:
    """Work off a drop of files while the page is open in browsers and `queue --watch` runs in a terminal.

    Args:
        place: An empty folder.
        models: Bundles for the system.
        pictures: Supply files.
        rounds: How many turns count; one before them does not.
        files: Of each drop.
        readers: How many have the page open.

    Raises:
        BenchmarkFailed: The drop is not worked off.
    """
    values: dict[str, list[float]] = {}
    with running(place / "home", models) as system:
        environment = {
            **without_ours(psutil.Process(system.process.pid).environ()),
            "FRACTURE_HOME": str(system.settings.home),
            "FRACTURE_MODELS": str(models),
            "COLUMNS": "80",
            "FORCE_COLOR": "1",  # it draws as for a terminal
        }
        with (place / "watch.out").open("wb") as output:
            command = [sys.executable, "-m", "cli.main", "queue", "--watch"]
            terminal = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        try:
            wait_until(lambda: (place / "watch.out").stat().st_size > 0, _PATIENCE, "the terminal shows figures")
            for turn in range(rounds + 1):
                found = _turn(system, psutil.Process(terminal.pid), pictures, place / f"drop-{turn}", files, readers)
                for name, value in found.items():
                    values.setdefault(name, []).extend([value] if turn else [])
        finally:
            terminal.terminate()
            terminal.wait(timeout=_PATIENCE)
    figures = {name: Measured(name, name.rpartition(", ")[2], tuple(found)) for name, found in values.items()}
    rows = tuple((name, each.shown(2)) for name, each in figures.items())
    often = f"figures every {_EACH_SECONDS:g} s, the whole page every {_PAGE_EVERY * _EACH_SECONDS:g} s"
    notes = (
        f"{files} files a turn, all workers busy; the page open {readers} times ({often}), `queue --watch` beside it. "
        "Shares: processor time (user and system) of the web process, which does nothing else meanwhile, and of the "
        f"terminal's, of the time of all our processes. {pictures.words}.",
    )
    return Part("Watching the queue", ("", "median (range) of the turns"), rows, notes, figures)


def _turn(
    system: System, terminal: psutil.Process, pictures: Pictures, folder: Path, files: int, readers: int
) -> dict[str, float]:
    drop = pictures.write(folder, files)
    ended = system.ended()
    everybody = [system.process.pid, terminal.pid]
    web = [each.pid for each in system.processes("web")]
    before = _seconds(everybody), _seconds(web), _seconds([terminal.pid])
    watching = [_Reader(system) for _ in range(readers)]
    try:
        system.drop(drop)
        system.wait_for(ended + files)
    finally:
        for reader in watching:
            reader.close()
    after = _seconds(everybody), _seconds(web), _seconds([terminal.pid])
    total, page, shell = (late - early for late, early in zip(after, before, strict=True))
    figures = [each for reader in watching for each in reader.figures]
    pages = [each for reader in watching for each in reader.page]
    return {
        "figures p50, ms": float(np.percentile(figures, 50)),
        "figures p95, ms": float(np.percentile(figures, 95)),
        "page p95, ms": float(np.percentile(pages, 95)),
        "page's share, %": 100 * page / total,
        "terminal's share, %": 100 * shell / total,
    }


def _seconds(pids: list[int]) -> float:
    """Return the processor time of processes and all below them, in seconds."""
    found = {each.pid: each for pid in pids for each in _family(pid)}
    return sum(sum(each.cpu_times()[:2]) for each in found.values())


def _family(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]
