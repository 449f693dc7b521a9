"""A Chromium without a window, for tests, screenshots and measurements."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

#: It asks nobody outside for anything.
_ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-dev-shm-usage",
)


def programs() -> tuple[str, str] | None:
    """Where Chromium and its driver are, if both are installed."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    return (chromium, driver) if chromium and driver else None


@contextmanager
def chromium(profile: Path) -> Iterator[webdriver.Chrome]:
    """Open it with a new profile."""
    found = programs()
    if found is None:
        raise RuntimeError("this needs the Debian packages chromium and chromium-driver")
    options = Options()
    options.binary_location = found[0]
    for argument in (*_ARGUMENTS, f"--user-data-dir={profile}"):
        options.add_argument(argument)
    opened = webdriver.Chrome(options=options, service=Service(found[1]))
    try:
        yield opened
    finally:
        opened.quit()


def resize(browser: webdriver.Chrome, width: int, height: int, *, mobile: bool = False) -> None:
    """Show pages as on a screen of this size, in CSS pixels."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def colours(browser: webdriver.Chrome, scheme: str) -> None:
    """Prefer `light` or `dark`."""
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
