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
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.common.by import By

from core.ports import free_port
from tests.chromium import chromium, colours, resize
from tests.conftest import PROJECT, wait_until

OUTPUT = PROJECT / "docs" / "screenshots"
#: Every so manieth picture of the test split, so that they differ.
_STEP, _COUNT = 5, 16
_PATIENCE = 180
_QUALITY = 82
#: Workers are called by their machine's name; it is nobody's business what this one is called.
_HIDE_HOST = """
    const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const own = `@${arguments[0]}:`;
    while (walk.nextNode()) walk.currentNode.data = walk.currentNode.data.replaceAll(own, "@workstation:");
"""


def main() -> None:
    """Take them."""
    parser = argparse.ArgumentParser(description="Take the pictures in docs/screenshots.")
    data = Path(os.environ.get("FRACTURE_DATA") or PROJECT.parent / "shared" / "data")
    parser.add_argument("--data", type=Path, default=data, help="folder that holds fracture-binary/")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    asked = parser.parse_args()
    asked.output.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="fq-shots-") as folder,
        served(Path(folder) / "home") as address,
        chromium(Path(folder) / "profile") as browser,
    ):
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
def served(home: Path) -> Iterator[str]:
    """Run everything, as `fracture-queue up` does; yield the page's address."""
    port = free_port()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FRACTURE_")}
    environment = {**kept, "FRACTURE_HOME": str(home), "FRACTURE_PORT": str(port), "FRACTURE_WORKER_PROCESSES": "2"}
    address = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        [sys.executable, "-m", "cli.main", "up"],
        env=environment,
        cwd=PROJECT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: _is_ready(f"{address}/readyz"), within_seconds=_PATIENCE, what="everything is ready")
        yield address
    finally:
        process.terminate()
        process.wait(timeout=_PATIENCE)


def _is_ready(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=10) as answer:  # noqa: S310 - our own address
            return bool(answer.status == 200)
    except OSError:
        return False


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
    browser.execute_script(_HIDE_HOST, socket.gethostname())
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
