"""The page in a real browser: upload three radiographs, see three predictions."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

from core.tables import JobStatus
from tests.acceptance.conftest import Installation
from tests.conftest import skip_at_home, wait_until

pytestmark = pytest.mark.browser


@contextmanager
def chromium(*, script: bool = True) -> Iterator[webdriver.Chrome]:
    """A headless Chromium with an empty profile."""
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not program or not driver:
        skip_at_home("browser tests need the Debian packages chromium and chromium-driver")
    options = Options()
    options.binary_location = str(program)
    if not script:
        options.add_experimental_option("prefs", {"profile.managed_default_content_settings.javascript": 2})
    with TemporaryDirectory() as profile:
        for argument in (
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--no-first-run",
            "--disable-dev-shm-usage",
            "--window-size=1280,1000",
            f"--user-data-dir={profile}",
        ):
            options.add_argument(argument)
        opened = webdriver.Chrome(options=options, service=Service(driver))
        try:
            yield opened
        finally:
            opened.quit()


@pytest.fixture
def browser() -> Iterator[webdriver.Chrome]:
    with chromium() as opened:
        yield opened


def errors_of(browser: webdriver.Chrome) -> list[str]:
    """What the console complained about: broken scripts, and what the content security policy refused."""
    log: Any = browser.get_log  # without types
    return [entry["message"] for entry in log("browser") if entry["level"] == "SEVERE"]


def test_three_files_uploaded_in_the_browser_become_three_predictions(
    shared_installation: Installation, browser: webdriver.Chrome, test_radiographs: list[Path]
) -> None:
    browser.get(shared_installation.address)
    assert "never for diagnosis" in browser.find_element(By.TAG_NAME, "body").text
    browser.find_element(By.ID, "files").send_keys("\n".join(map(str, test_radiographs[:3])))
    browser.find_element(By.CSS_SELECTOR, "#upload button[type=submit]").click()

    def answers() -> list[str]:
        return [shown.text for shown in browser.find_elements(By.CSS_SELECTOR, "#sent-files .answer .label")]

    wait_until(lambda: len(answers()) == 3, within_seconds=60, what="three predictions are shown")
    labels = {result["label"].replace("-", " ") for result in shared_installation.results()}
    for shown in answers():
        assert any(label in shown.lower().replace("-", " ") for label in labels), shown
    assert errors_of(browser) == []


def test_a_radiograph_has_a_page_with_image_bars_and_model(
    shared_installation: Installation, browser: webdriver.Chrome, test_radiographs: list[Path]
) -> None:
    assert shared_installation.run("submit", str(test_radiographs[10]), "--wait").returncode == 0
    (result,) = shared_installation.results("--name", test_radiographs[10].name)

    browser.get(f"{shared_installation.address}/results")
    browser.find_element(By.PARTIAL_LINK_TEXT, test_radiographs[10].name[:12]).click()
    wait_until(lambda: "/radiographs/" in browser.current_url, within_seconds=10, what="the radiograph's page opens")

    image = browser.find_element(By.CSS_SELECTOR, "main img")
    wait_until(lambda: image.get_property("naturalWidth") > 0, within_seconds=10, what="the image is shown")  # type: ignore[operator]
    text = browser.find_element(By.TAG_NAME, "main").text
    assert len(browser.find_elements(By.CSS_SELECTOR, "table.scores tbody tr")) == 10
    assert result["model"].split("/")[0] in text
    assert errors_of(browser) == []


def test_without_javascript_an_upload_ends_on_a_page_with_the_answers(
    shared_installation: Installation, test_radiographs: list[Path]
) -> None:
    path = test_radiographs[20]
    before = shared_installation.count(JobStatus.DONE)
    with chromium(script=False) as browser:
        browser.get(shared_installation.address)
        browser.find_element(By.ID, "files").send_keys(str(path))
        browser.find_element(By.CSS_SELECTOR, "#upload button[type=submit]").click()

        def text() -> str:
            return browser.find_element(By.TAG_NAME, "main").text

        wait_until(lambda: "/submissions/" in browser.current_url, within_seconds=30, what="the upload's page opens")
        assert path.name in text()
        shared_installation.wait_for_done(before + 1)
        label = shared_installation.results("--name", path.name)[0]["label"].replace("-", " ")
        browser.refresh()
        assert label in text().lower()
