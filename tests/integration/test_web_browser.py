"""The pages in a real browser, with a stand-in for the worker."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select
from sqlalchemy import update
from waitress import wasyncore
from waitress.server import create_server

from core.activation import packed
from core.settings import Settings
from core.tables import PredictionRow, Role
from tests.chromium import chromium, programs
from tests.conftest import draw_radiograph, skip_at_home, wait_until
from tests.unit.web_fixtures import PASSWORD, Site

pytestmark = pytest.mark.browser


class ServedSite(Site):
    """A site that a browser can open."""

    address = ""


@pytest.fixture
def site(settings: Settings) -> Iterator[ServedSite]:
    site = ServedSite(settings)
    server = create_server(site.app, host="127.0.0.1", port=0)
    site.address = f"http://127.0.0.1:{server.effective_port}"
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    yield site
    server.task_dispatcher.shutdown()  # first: an answer under way still needs the trigger
    # In the server's own thread: a socket that closes under another thread's select() fails it.
    server.trigger.pull_trigger(lambda: wasyncore.close_all(server._map))
    thread.join(timeout=10)
    assert not thread.is_alive()
    site.database.dispose()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[webdriver.Chrome]:
    if programs() is None:
        skip_at_home("browser tests need the Debian packages chromium and chromium-driver")
    with chromium(tmp_path / "profile") as opened:
        yield opened


def texts(browser: webdriver.Chrome, selector: str) -> list[str]:
    script = "return [...document.querySelectorAll(arguments[0])].map((each) => each.innerText)"
    return list(browser.execute_script(script, selector))


def complaints(browser: webdriver.Chrome) -> list[str]:
    """What the console said: broken scripts, and what the content security policy refused."""
    log: Any = browser.get_log  # without types
    return [entry["message"] for entry in log("browser") if entry["level"] == "SEVERE"]


def choose(browser: webdriver.Chrome, folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).write_bytes(content)
    browser.find_element(By.ID, "files").send_keys("\n".join(str(folder / name) for name in files))
    browser.find_element(By.CSS_SELECTOR, "#upload button").click()


def test_an_upload_is_answered_per_file_and_followed_until_the_answers_show(
    site: ServedSite, browser: webdriver.Chrome, tmp_path: Path
) -> None:
    good = {f"hand {seed}.png": draw_radiograph(seed) for seed in range(25)}  # two requests, one submission
    browser.get(site.address)

    choose(browser, tmp_path, {**good, "empty.png": b"", "<b>notes.png": b"no picture"})

    states = "#sent-files .state"
    wait_until(lambda: texts(browser, states).count("Waiting in the queue") == 25, within_seconds=20, what="all wait")
    assert texts(browser, states).count("Rejected") == 2
    assert "<b>notes.png" in texts(browser, "#sent-files .name")
    site.classify("spiral", 0.7)
    wait_until(lambda: len(texts(browser, "#sent-files .answer a")) == 25, within_seconds=20, what="answers show")
    assert set(texts(browser, "#sent-files .answer a")) == {"Spiral"}
    wait_until(lambda: texts(browser, "#said") == ["27 of 27 files finished."], within_seconds=5, what="it is said")
    browser.find_element(By.ID, "sent-link").click()
    assert len(texts(browser, "#live .row")) == 27
    assert complaints(browser) == []


def test_a_duplicate_shows_its_stored_answer_at_once(
    site: ServedSite, browser: webdriver.Chrome, tmp_path: Path
) -> None:
    site.take_in(1)
    site.classify("greenstick", 0.8)
    browser.get(site.address)

    choose(browser, tmp_path, {"again.png": draw_radiograph(1)})

    wait_until(lambda: texts(browser, "#sent-files .answer a") == ["Greenstick"], within_seconds=5, what="it shows")
    assert "The same bytes were here before" in texts(browser, "#sent-files .note")[0]


def test_a_part_that_is_away_is_explained_after_patient_attempts(
    site: ServedSite, browser: webdriver.Chrome, tmp_path: Path
) -> None:
    with site.database.transaction() as session:
        session.connection().exec_driver_sql("UPDATE model_versions SET active = 0")
    browser.get(site.address)

    choose(browser, tmp_path, {"hand.png": draw_radiograph(1)})

    wait_until(lambda: "No model is active" in "".join(texts(browser, ".reason")), within_seconds=20, what="words")
    assert texts(browser, "#sent-files .state") == ["Not accepted"]


def test_the_same_flow_works_without_javascript(site: ServedSite, browser: webdriver.Chrome, tmp_path: Path) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    browser.get(site.address)

    choose(browser, tmp_path, {"hand.png": draw_radiograph(1), "empty.png": b""})

    wait_until(lambda: "/submissions/" in browser.current_url, within_seconds=5, what="the page of the submission")
    assert "Waiting in the queue" in browser.page_source
    site.classify("avulsion", 0.6)
    wait_until(lambda: "Avulsion" in browser.page_source, within_seconds=10, what="the page reloads itself")


def test_a_failed_radiograph_is_retried_and_the_page_follows(site: ServedSite, browser: webdriver.Chrome) -> None:
    site.take_in(1)
    site.fail("bug", "It broke.")
    browser.get(f"{site.address}/radiographs/1")
    assert "It broke." in texts(browser, "#live")[0]

    browser.find_element(By.CSS_SELECTOR, "#live form button").click()
    wait_until(lambda: "Waiting in the queue" in texts(browser, "#live")[0], within_seconds=5, what="it waits again")
    summary = browser.find_element(By.CSS_SELECTOR, "#live summary")
    summary.click()
    site.classify("spiral", 0.9)

    wait_until(lambda: "Spiral" in texts(browser, "#live")[0], within_seconds=15, what="the answer shows")
    assert len(browser.find_elements(By.CSS_SELECTOR, "#live meter")) == 3
    # What was open stays open, and the keyboard stays where it was.
    assert browser.execute_script("return document.querySelector('#live details').open")
    assert browser.execute_script("return document.activeElement.matches('#live summary')")
    assert complaints(browser) == []


def test_filters_make_a_link_that_can_be_kept(site: ServedSite, browser: webdriver.Chrome) -> None:
    site.take_in(1, 2)
    site.classify("spiral", 0.9)
    site.take_in(3)
    site.classify("avulsion", 0.55)
    browser.get(f"{site.address}/results")
    assert len(texts(browser, ".row")) == 3

    Select(browser.find_element(By.ID, "label")).select_by_visible_text("Avulsion")
    browser.find_element(By.CSS_SELECTOR, ".filters button").click()

    wait_until(lambda: "label=avulsion" in browser.current_url, within_seconds=5, what="the address names the filter")
    assert len(texts(browser, ".row")) == 1
    picture = browser.find_element(By.CSS_SELECTOR, ".row img")
    width = "return arguments[0].naturalWidth"
    wait_until(lambda: browser.execute_script(width, picture) > 0, within_seconds=5, what="the thumbnail shows")
    assert complaints(browser) == []


def test_the_queue_page_keeps_itself_up_to_date(site: ServedSite, browser: webdriver.Chrome) -> None:
    browser.get(f"{site.address}/queue")
    assert texts(browser, ".tile.waiting .count") == ["0"]

    site.take_in(1, 2)

    wait_until(lambda: texts(browser, ".tile.waiting .count") == ["2"], within_seconds=15, what="the figure changes")


def test_a_phone_scrolls_in_one_direction_only(site: ServedSite, browser: webdriver.Chrome) -> None:
    site.take_in(1, name="a-very-long-name-without-any-place-to-break-" * 5 + "{}.png")
    site.classify("spiral", 0.9)
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 320, "height": 700, "deviceScaleFactor": 1, "mobile": True}
    )
    for page in ("/", "/results", "/radiographs/1", "/submissions/1", "/queue"):
        browser.get(site.address + page)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 320, page


# Review


def press(browser: webdriver.Chrome, *keys: str) -> None:
    """Press keys, one after the other, wherever the keyboard is; wait for the page that each leads to."""
    for key in keys:
        before = moment_of_birth(browser)
        ActionChains(browser).send_keys(key).perform()
        wait_until(
            lambda before=before: moment_of_birth(browser) not in (None, before),  # type: ignore[misc]
            within_seconds=30,
            what=f"{key} leads on",
        )


def moment_of_birth(browser: webdriver.Chrome) -> float | None:
    """Return when the page came to be, which no two have in common; None while one goes and another comes."""
    script = "return document.readyState === 'complete' ? performance.timeOrigin : null"
    try:
        return cast("float | None", browser.execute_script(script))
    except WebDriverException:
        return None


def test_twenty_radiographs_are_reviewed_by_keyboard_alone(site: ServedSite, browser: webdriver.Chrome) -> None:
    # given: twenty radiographs, the last one the most doubtful
    for seed in range(20):
        site.take_in(seed)
        site.classify("spiral", 0.9 - seed / 50)
    browser.get(f"{site.address}/review")
    assert texts(browser, "h1") == ["hand 19.png"]
    # when: skipped and come back to, agreed, chosen, unsure, with a note, taken back and said again
    press(browser, "j", "k", "a", "1", "2", "u", "x")
    ActionChains(browser).send_keys("n").perform()
    assert browser.switch_to.active_element.get_attribute("id") == "note"
    ActionChains(browser).send_keys("a jar of z").send_keys(Keys.ESCAPE).perform()
    press(browser, "3", "z", "3", *"a" * 14)
    # then
    assert "Nothing waits to be reviewed" in " ".join(texts(browser, ".empty"))
    said = {number: site.client.get(f"/api/v1/radiographs/{number}").json["reviews"] for number in range(1, 21)}
    standing = [said[number][-1]["label"] for number in range(20, 0, -1)]
    assert standing == ["spiral", "avulsion", "greenstick", None, "not-fractured", *["spiral"] * 15]
    assert [review["kind"] for review in said[15]] == ["labelled", "withdrawn", "labelled"]
    assert said[15][0]["note"] == "a jar of z"
    assert complaints(browser) == []


def test_the_next_image_is_fetched_before_it_is_asked_for(site: ServedSite, browser: webdriver.Chrome) -> None:
    for seed, confidence in ((1, 0.3), (2, 0.6)):
        site.take_in(seed)
        site.classify("spiral", confidence)
    browser.get(f"{site.address}/review")
    script = "return performance.getEntriesByType('resource').map((each) => new URL(each.name).pathname)"
    wait_until(
        lambda: "/api/v1/radiographs/2/image.png" in browser.execute_script(script),
        within_seconds=30,
        what="the next image was fetched",
    )


# One radiograph, looked at closely


def style(browser: webdriver.Chrome, selector: str, name: str) -> str:
    return str(
        browser.execute_script("return document.querySelector(arguments[0]).style[arguments[1]]", selector, name)
    )


def slide(browser: webdriver.Chrome, name: str, value: int) -> None:
    browser.execute_script(
        "const slider = document.getElementById(arguments[0]); slider.value = arguments[1];"
        "slider.dispatchEvent(new Event('input', {bubbles: true}))",
        name,
        value,
    )


def test_a_radiograph_is_enlarged_moved_and_shown_in_other_greys(site: ServedSite, browser: webdriver.Chrome) -> None:
    [number] = site.take_in(1)
    site.classify("spiral")
    with site.database.transaction() as session:
        session.execute(update(PredictionRow).values(activation=packed(np.eye(3))))
    browser.get(f"{site.address}/radiographs/{number}")
    film = browser.find_element(By.ID, "film")
    # enlarged by button and key, moved, never out of the film
    browser.find_element(By.CSS_SELECTOR, "[data-tool=in]").click()
    film.send_keys("+", Keys.ARROW_LEFT)
    assert "scale(1.5625)" in style(browser, ".stack", "transform")
    assert "translate(0px" not in style(browser, ".stack", "transform")
    film.send_keys(*[Keys.ARROW_LEFT] * 30)
    assert "translate(0px" in style(browser, ".stack", "transform")
    film.send_keys("0", "i")
    assert style(browser, ".stack", "transform") == "translate(0px, 0px) scale(1)"
    # other greys
    assert style(browser, ".stack img", "filter").strip() == "invert(1)"
    film.send_keys("i")
    slide(browser, "window", 100)
    assert re.fullmatch(r"brightness\([\d.]+\) contrast\([\d.]+\)", style(browser, ".stack img", "filter"))
    browser.find_element(By.CSS_SELECTOR, "[data-tool=reset]").click()
    assert style(browser, ".stack img", "filter") == ""
    # where the model looked: fetched when it is wanted
    layer = browser.find_element(By.CSS_SELECTOR, ".map")
    assert not layer.is_displayed()
    slide(browser, "map", 60)
    wait_until(lambda: layer.get_property("naturalWidth") == 96, within_seconds=30, what="the map is there")
    assert layer.is_displayed()
    assert style(browser, ".map", "opacity") == "0.6"
    assert complaints(browser) == []


def test_a_window_in_the_browser_is_the_servers_window(site: ServedSite, browser: webdriver.Chrome) -> None:
    # given: what the filters of the page make of grey levels, drawn by the browser itself
    [number] = site.take_in(1)
    browser.get(f"{site.address}/radiographs/{number}")
    slide(browser, "level", 120)
    slide(browser, "window", 80)
    drawn = browser.execute_script(
        "const canvas = document.createElement('canvas'); canvas.width = 256; canvas.height = 1;"
        "const pen = canvas.getContext('2d'); pen.filter = document.querySelector('.stack img').style.filter;"
        "const greys = document.createElement('canvas'); greys.width = 256; greys.height = 1;"
        "const other = greys.getContext('2d');"
        "for (let i = 0; i < 256; i++) { other.fillStyle = `rgb(${i},${i},${i})`; other.fillRect(i, 0, 1, 1); }"
        "pen.drawImage(greys, 0, 0); return [...pen.getImageData(0, 0, 256, 1).data].filter((_, i) => i % 4 === 0)"
    )
    # then: level 120 and window 80 are the levels from 80 to 160
    expected = np.clip((np.arange(256) - 80) / 80 * 255, 0, 255)
    assert np.abs(np.asarray(drawn) - expected).max() <= 4


def test_somebody_signs_in_uploads_and_signs_out(site: ServedSite, browser: webdriver.Chrome, tmp_path: Path) -> None:
    site.add_user("anna", Role.REVIEWER)
    browser.get(f"{site.address}/results?label=spiral")
    assert "/sign-in?next=" in browser.current_url
    assert texts(browser, "nav") == []
    for field, text in (("name", "Anna"), ("password", PASSWORD)):
        browser.find_element(By.ID, field).send_keys(text)
    browser.find_element(By.CSS_SELECTOR, ".sign-in button").click()
    wait_until(lambda: "/results?label=spiral" in browser.current_url, within_seconds=10, what="the page asked for")
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 320, "height": 700, "deviceScaleFactor": 1, "mobile": True}
    )
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 320

    browser.get(site.address)
    choose(browser, tmp_path, {"hand.png": draw_radiograph(1)})
    wait_until(lambda: site.rung == [1], within_seconds=10, what="the upload is taken")
    browser.find_element(By.CSS_SELECTOR, ".account button").click()

    wait_until(lambda: browser.current_url.endswith("/sign-in"), within_seconds=10, what="the session ends")
    browser.get(f"{site.address}/queue")
    assert "/sign-in" in browser.current_url
    assert complaints(browser) == []
