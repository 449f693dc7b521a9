"""Take the pictures in docs/screenshots: `python -m tests.screenshots [--data DIR] [--output DIR]`.

A whole installation in a temporary folder, with the shipped models and real radiographs: those of FracAtlas, reduced
(CC BY 4.0), which lie in `fracture-binary/` below the folder of the tests' data (FRACTURE_DATA, or `shared/data` beside
the project). What is shown is what the models answer. Needs Chromium and its driver.
"""

from __future__ import annotations

import argparse
import base64
import csv
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.common.by import By
from waitress.server import create_server

from core.home import prepare_home
from core.schema import migrate
from core.settings import Settings
from tests.chromium import chromium, colours, resize
from tests.conftest import PROJECT, wait_until
from web.app import create_app
from worker.batching import work_off
from worker.context import WorkerContext
from worker.main import register_installed
from worker.pulse import Pulse

OUTPUT = PROJECT / "docs" / "screenshots"
#: Every so manieth picture of the test split, so that they differ.
_STEP, _COUNT = 5, 16
_PATIENCE = 180
_QUALITY = 82


def main() -> None:
    """Take them."""
    parser = argparse.ArgumentParser(description="Take the pictures in docs/screenshots.")
    data = Path(os.environ.get("FRACTURE_DATA") or PROJECT.parent / "shared" / "data")
    parser.add_argument("--data", type=Path, default=data, help="folder that holds fracture-binary/")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    asked = parser.parse_args()
    asked.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fq-shots-") as folder:
        settings = Settings(home=Path(folder) / "home", memory_limit_mib=0)
        with served(settings) as address, chromium(Path(folder) / "profile") as browser:
            take_all(browser, address, radiographs(asked.data / "fracture-binary"), asked.output)


def radiographs(folder: Path) -> list[Path]:
    """Choose test images of hands and legs, as many fractured as not, the same every time; the first is fractured."""
    with (folder / "MANIFEST.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["split"] == "test" and row["region"] in ("hand", "leg")]
    each = [
        [folder / row["path"] for row in rows if row["class"] == kind][::_STEP][: _COUNT // 2]
        for kind in ("fractured", "not_fractured")
    ]
    return [path for pair in zip(*each, strict=True) for path in pair]


@contextmanager
def served(settings: Settings) -> Iterator[str]:
    """Serve the application, and classify what waits in a thread; yield its address."""
    prepare_home(settings)
    context = WorkerContext.of(settings)
    context.identity = replace(context.identity, host="workstation")  # not the name of whoever's machine this is
    migrate(context.database)
    register_installed(settings, context.database, "screenshots")
    pulse, ended = Pulse(context), threading.Event()

    def work() -> None:
        while not ended.wait(0.2):
            work_off(context, pulse)

    server = create_server(create_app(settings, announce=lambda _jobs: None), host="127.0.0.1", port=0)
    threads = [threading.Thread(target=each, daemon=True) for each in (server.run, work)]
    pulse.start()
    for thread in threads:
        thread.start()
    try:
        yield f"http://127.0.0.1:{server.effective_port}"
    finally:
        ended.set()
        server.close()
        server.task_dispatcher.shutdown()
        for thread in threads:
            thread.join(timeout=30)
        pulse.stop()
        context.database.dispose()


def take_all(browser: webdriver.Chrome, address: str, files: list[Path], output: Path) -> None:
    """Go through the pages as somebody would who has files to classify."""
    resize(browser, 1200, 850)
    browser.get(address)
    browser.find_element(By.ID, "files").send_keys("\n".join(str(path) for path in files))
    browser.find_element(By.CSS_SELECTOR, "#upload button").click()
    browser.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": True})
    wait_until(
        lambda: browser.execute_script("return document.getElementById('sent-words').innerText").startswith(
            f"{len(files)} of {len(files)}"
        ),
        within_seconds=_PATIENCE,
        what="everything is answered",
    )
    take(browser, output / "upload.webp")
    go(browser, f"{address}/results")
    take(browser, output / "results.webp")
    go(browser, f"{address}/results?model=fracture&order=confidence&label=fractured")
    shown = browser.find_element(By.CSS_SELECTOR, ".row a.name").get_attribute("href")
    go(browser, str(shown))
    slide = "const map = document.getElementById('map'); map.value = 55;"
    browser.execute_script(f"{slide} map.dispatchEvent(new Event('input', {{bubbles: true}}))")
    take(browser, output / "radiograph.webp", 1200, 1250)
    go(browser, f"{address}/review?question=fracture")
    take(browser, output / "review.webp")
    go(browser, f"{address}/queue")
    take(browser, output / "queue.webp", 1200, 760)
    colours(browser, "dark")
    resize(browser, 390, 844, mobile=True)
    go(browser, str(shown))
    take(browser, output / "phone-dark.webp", 390, 1400, mobile=True)


def go(browser: webdriver.Chrome, address: str) -> None:
    """Open a page and wait for its pictures."""
    browser.get(address)
    _await_pictures(browser)


def take(
    browser: webdriver.Chrome, output: Path, width: int = 1200, height: int = 850, *, mobile: bool = False
) -> None:
    """Take one picture."""
    resize(browser, width, height, mobile=mobile)
    _await_pictures(browser)
    shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "webp", "quality": _QUALITY})
    output.write_bytes(base64.b64decode(shot["data"]))


def _await_pictures(browser: webdriver.Chrome) -> None:
    script = (
        "return [...document.images].every((each) => each.hidden || each.complete"
        " || each.getBoundingClientRect().top > innerHeight)"
    )
    wait_until(lambda: bool(browser.execute_script(script)), within_seconds=_PATIENCE, what="the pictures are shown")


if __name__ == "__main__":
    main()
