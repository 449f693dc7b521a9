"""Every page in a real browser, over a database with many results: `python -m benchmarks.pages [--rows N] [--json]`.

Chromium opens each page on loopback with an empty cache, in turns. Counted is what comes over the wire without
pictures, and how long it takes until the page can be used: its document is there and its scripts have run. Needs
Chromium and its driver, and the development environment.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image
from sqlalchemy import update

from benchmarks.many_rows import LABELS, fill
from benchmarks.measured import Measured, Part, machine
from benchmarks.parts import as_text
from benchmarks.pictures import Pictures
from core.database import Database
from core.home import prepare_home
from core.ports import free_port
from core.records.reviews import Word, add_review
from core.schema import migrate
from core.settings import Settings
from core.store import open_store
from core.tables import FIRST, ModelVersionRow, RadiographRow, ReviewKind
from tests.chromium import chromium, resize

#: What every page is held to.
MOST_KILOBYTES, MOST_MILLISECONDS = 150.0, 1000.0
#: Radiographs that somebody has reviewed.
_REVIEWED = 200
_PATIENCE = 60.0
_MEASURE = """
    const done = arguments[0];
    const shifts = [];
    new PerformanceObserver((list) => shifts.push(...list.getEntries().map((each) => each.value)))
        .observe({type: "layout-shift", buffered: true});
    const finish = () => setTimeout(() => {
        const page = performance.getEntriesByType("navigation")[0];
        const pictures = /\\.png(\\?|$)/;
        const others = performance.getEntriesByType("resource").filter((each) => !pictures.test(each.name));
        done({
            bytes: page.transferSize + others.reduce((sum, each) => sum + each.transferSize, 0),
            answered: page.responseStart,
            usable: page.domContentLoadedEventEnd,
            loaded: page.loadEventEnd,
            shift: shifts.reduce((sum, each) => sum + each, 0),
        });
    }, 50);
    if (document.readyState === "complete") finish(); else addEventListener("load", finish);
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and return 1 if a page is too heavy or too slow."""
    parser = argparse.ArgumentParser(description="Weigh and time every page in Chromium.")
    parser.add_argument("--rows", type=int, default=10_000, help="results in the database")
    parser.add_argument("--rounds", type=int, default=3, help="turns that count")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    asked = parser.parse_args(arguments)
    with TemporaryDirectory(prefix="fracture-pages-") as place:
        settings = Settings(home=Path(place) / "home", port=free_port())
        prepare(settings, asked.rows)
        with served(settings) as address:
            found = measure_pages(address, Path(place), asked.rows, rounds=asked.rounds)
    if asked.json:
        print(json.dumps({"machine": machine(), "parts": [found.document()]}, indent=1))  # noqa: T201 - a program
    else:
        print("\n".join(as_text(found)))  # noqa: T201
    return int(any("too" in cell for row in found.rows for cell in row))


def prepare(settings: Settings, rows: int) -> None:
    """Fill a new installation; all radiographs share one picture."""
    prepare_home(settings)
    database = Database(settings.database_url)
    migrate(database)
    fill(database, rows)
    [data] = Pictures(None).make(1)
    with Image.open(io.BytesIO(data)) as picture:
        width, height = picture.size
    key = open_store(settings).put(data, hashlib.sha256(data).hexdigest())
    with database.transaction() as session:
        session.execute(update(RadiographRow).values(storage_key=key, width=width, height=height))
        card = {"labels": list(LABELS), "title": "Benchmark"}
        session.execute(update(ModelVersionRow).values(card=card))
    for number in range(1, _REVIEWED + 1):
        word = Word(kind=ReviewKind.LABELLED, label=LABELS[number % len(LABELS)], shown=LABELS[0])
        with database.transaction() as session:
            add_review(session, number, word, reading=FIRST, reviewer="anna", seen=0, actor="benchmark")
    database.dispose()


def pages_of(rows: int) -> dict[str, str]:
    """Return the addresses that are opened, by what they are."""
    return {
        "upload": "/",
        "results": "/results",
        "results, in the middle": f"/results?before_id={rows // 2}",
        "results by label and confidence": "/results?label=spiral&min_confidence=0.5",
        "results by doubt": "/results?order=doubt",
        "results by name": f"/results?name={rows // 2:07d}",
        "radiograph": f"/radiographs/{rows // 2}",
        "radiograph that was reviewed": "/radiographs/1",
        "submission of 1,000 files": "/submissions/1",
        "review": "/review",
        "second reading": "/review?reading=2",
        "agreement": "/review/figures",
        "queue": "/queue",
        "API": "/api",
        "nothing there": "/nowhere",
    }


def measure_pages(address: str, place: Path, rows: int, *, rounds: int) -> Part:
    """Open every page, in turns; the first turn warms up and does not count."""
    values: dict[str, dict[str, list[float]]] = {}
    with chromium(place / "profile") as browser:
        resize(browser, 1280, 900)
        browser.set_script_timeout(_PATIENCE)
        browser.execute_cdp_cmd("Network.enable", {})
        browser.execute_cdp_cmd("Network.setCacheDisabled", {"cacheDisabled": True})
        for turn in range(rounds + 1):
            for name, path in pages_of(rows).items():
                browser.get(address + path)
                seen: dict[str, float] = browser.execute_async_script(_MEASURE)
                for what, value in seen.items() if turn else ():
                    values.setdefault(name, {}).setdefault(what, []).append(value)
    figures = {
        f"{name}, {what}": Measured(f"{name}, {what}", unit, tuple(value / scale for value in values[name][what]))
        for name in values
        for what, unit, scale in (
            ("bytes", "KB", 1000),
            ("answered", "ms", 1),
            ("usable", "ms", 1),
            ("loaded", "ms", 1),
            ("shift", "share", 1),
        )
    }
    table = []
    for name in values:
        weight, usable = figures[f"{name}, bytes"], figures[f"{name}, usable"]
        verdict = [
            *(["too heavy"] if weight.median > MOST_KILOBYTES else []),
            *(["too slow"] if usable.median > MOST_MILLISECONDS else []),
        ]
        times = [figures[f"{name}, {what}"].shown(0) for what in ("answered", "usable", "loaded")]
        shift = f"{figures[f'{name}, shift'].median:.3f}"
        table.append((name, f"{weight.median:.1f}", *times, shift, ", ".join(verdict) or "fine"))
    head = ("page", "KB", "ms to first byte", "ms until usable", "ms with pictures", "layout shift", "")
    notes = (f"{rows:,} results; held to {MOST_KILOBYTES:g} KB and {MOST_MILLISECONDS:g} ms until usable.",)
    return Part("Pages in Chromium", head, tuple(table), notes, figures)


@contextmanager
def served(settings: Settings) -> Iterator[str]:
    """Run the real command `web`; yield its address."""
    environment: dict[str, Any] = {
        **{name: value for name, value in os.environ.items() if not name.startswith("FRACTURE_")},
        "FRACTURE_HOME": str(settings.home),
        "FRACTURE_PORT": str(settings.port),
    }
    address = f"http://127.0.0.1:{settings.port}"
    process = subprocess.Popen([sys.executable, "-m", "cli.main", "web"], env=environment, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + _PATIENCE
        while not _answers(f"{address}/healthz"):
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError("the page did not start")
            time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.wait(timeout=_PATIENCE)


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:  # noqa: S310 - our own address
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


if __name__ == "__main__":
    raise SystemExit(main())
