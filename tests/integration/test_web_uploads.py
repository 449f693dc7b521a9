"""Uploads in a real browser: files and folders dropped, duplicates, refusals, a server that is away, the submission."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

from tests.conftest import draw_radiograph, wait_until
from tests.integration.test_web_browser import ServedSite, browser, complaints, site, texts

__all__ = ["browser", "site"]  # fixtures
pytestmark = pytest.mark.browser
PATIENCE = 60


def drop(browser: webdriver.Chrome, *paths: Path) -> None:
    """Let go of files and folders over the form, as a person does with the mouse."""
    script = "const drop = document.getElementById('drop'); drop.scrollIntoView(); return drop.getBoundingClientRect()"
    box = browser.execute_script(script)
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        place = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
        browser.execute_cdp_cmd("Input.dispatchDragEvent", {"type": kind, "data": data, **place})


def states(browser: webdriver.Chrome) -> dict[str, str]:
    """Return each file's name and what its row says."""
    names = texts(browser, "#sent-files .name")
    return dict(zip(names, texts(browser, "#sent-files .answer"), strict=True))


def said(browser: webdriver.Chrome, words: str) -> None:
    try:
        wait_until(lambda: texts(browser, "#said") == [words], within_seconds=PATIENCE, what=words)
    except AssertionError as error:
        raise AssertionError(f"{error}; instead {texts(browser, '#said')}: {states(browser)}") from error


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with folders in it, and with what computers leave in folders."""
    ward = tmp_path / "ward"
    (ward / "left" / "deep").mkdir(parents=True)
    (ward / "right").mkdir()
    for seed, name in enumerate(("a.png", "left/b.png", "left/deep/c.png", "right/d.png")):
        (ward / name).write_bytes(draw_radiograph(seed))
    (ward / "right" / "notes.txt").write_text("no picture")
    (ward / ".DS_Store").write_bytes(b"junk")
    (ward / "right" / "Thumbs.db").write_bytes(b"junk")
    return ward


def test_dropped_files_and_folders_become_one_submission_that_is_followed_to_its_end(
    site: ServedSite, browser: webdriver.Chrome, folder: Path, tmp_path: Path
) -> None:
    # given: one of them was here before
    site.take_in(7)
    site.classify("greenstick", 0.8)
    (tmp_path / "again.png").write_bytes(draw_radiograph(7))
    (tmp_path / "empty.png").touch()
    browser.get(site.address)
    browser.find_element(By.ID, "upload-name").send_keys("Ward 3")

    # when
    drop(browser, tmp_path / "again.png", folder, tmp_path / "empty.png")

    # then: what can be answered at once is
    said(browser, "3 of 7 files finished.")
    rows = states(browser)
    assert list(rows) == [
        "again.png",
        *("ward/a.png", "ward/left/b.png", "ward/left/deep/c.png", "ward/right/d.png", "ward/right/notes.txt"),
        "empty.png",
    ]
    assert rows["again.png"].startswith("Greenstick")
    assert "The same bytes were here before" in texts(browser, "#sent-files .note")[0]
    assert rows["empty.png"] == "Rejected\nThe file is empty (0 bytes)."
    assert rows["ward/right/notes.txt"].startswith("Rejected\nThe file is not a ")
    assert rows["ward/left/deep/c.png"] == "Waiting in the queue"

    # and: its own page shows how far it is, and goes on until the end
    browser.find_element(By.ID, "sent-link").click()
    wait_until(lambda: texts(browser, "h1") == ["Ward 3"], within_seconds=PATIENCE, what="the submission's page")
    assert "1 of 5 files finished so far. 2 files were rejected. Time to go: unknown." in texts(browser, "#live")[0]
    site.classify("spiral", 0.7)
    wait_until(
        lambda: "5 of 5 files classified. 2 files were rejected." in texts(browser, "#live")[0],
        within_seconds=PATIENCE,
        what="the end",
    )
    assert browser.execute_script("return document.querySelector('#live progress').position") == 1
    assert browser.find_elements(By.CSS_SELECTOR, "#live[data-live]") == []
    assert complaints(browser) == []


@pytest.mark.long
def test_a_chosen_folder_is_sent_with_what_is_in_it(site: ServedSite, browser: webdriver.Chrome, folder: Path) -> None:
    browser.get(site.address)
    browser.find_element(By.ID, "folder").send_keys(str(folder))
    browser.find_element(By.CSS_SELECTOR, "#upload button").click()
    said(browser, "1 of 5 files finished.")
    site.classify()
    said(browser, "5 of 5 files finished.")
    named = site.client.get("/api/v1/radiographs?name=ward/left/").json["radiographs"]
    assert sorted(each["name"] for each in named) == ["ward/left/b.png", "ward/left/deep/c.png"]


@pytest.mark.long
def test_hundreds_of_files_are_sent_a_few_at_a_time_while_the_page_answers(
    site: ServedSite, browser: webdriver.Chrome, tmp_path: Path
) -> None:
    many = tmp_path / "many"
    many.mkdir()
    for number in range(300):  # one picture, so that only the sending takes time
        (many / f"{number:03d}.png").write_bytes(draw_radiograph(1, width=16, height=16))
    browser.get(site.address)
    # The longest time that the page did not answer, in milliseconds.
    browser.execute_script(
        "window.longest = 0; new PerformanceObserver((list) => list.getEntries().forEach((each) => "
        "window.longest = Math.max(window.longest, each.duration))).observe({type: 'longtask'})"
    )
    drop(browser, many)
    said(browser, "0 of 300 files finished.")
    wait_until(
        lambda: texts(browser, "#sent-files .state").count("Waiting in the queue") == 300,
        within_seconds=PATIENCE,
        what="all are in",
    )
    site.classify()
    said(browser, "300 of 300 files finished.")
    assert browser.execute_script("return window.longest") < 5_000
    listed = site.client.get("/api/v1/submissions").json["submissions"]
    assert [each["files"] for each in listed] == [300]


def test_what_was_not_sent_is_sent_again_and_nothing_twice(
    site: ServedSite, browser: webdriver.Chrome, tmp_path: Path
) -> None:
    for seed in range(6):
        (tmp_path / f"{seed}.png").write_bytes(draw_radiograph(seed))
    browser.get(site.address)
    # given: no growing pauses, and a network that loses the first answer and is then gone
    browser.execute_script(
        "window.setTimeout = ((original) => (done, wait) => original(done, Math.min(wait, 100)))(window.setTimeout);"
        "const send = XMLHttpRequest.prototype.send; window.away = true;"
        "XMLHttpRequest.prototype.send = function (body) {"
        "  if (!window.away) return send.call(this, body);"
        "  if (window.lost) return this.onerror();"
        "  window.lost = true; const handler = this.onerror; this.onload = handler; send.call(this, body); }"
    )
    drop(browser, *(tmp_path / f"{seed}.png" for seed in range(6)))
    again = browser.find_element(By.CSS_SELECTOR, "#sent-again button")
    wait_until(again.is_displayed, within_seconds=PATIENCE, what="it can be sent again")
    assert set(states(browser).values()) == {
        "Not accepted\nThe server was not reached; nothing is lost, send it again."
    }
    # when
    browser.execute_script("window.away = false")
    again.click()
    # then: what had arrived is answered as at first
    wait_until(
        lambda: set(states(browser).values()) == {"Waiting in the queue"}, within_seconds=PATIENCE, what="all wait"
    )
    [only] = site.client.get("/api/v1/submissions").json["submissions"]
    document = site.client.get(only["url"]).json
    assert [file["name"] for file in document["files"]] == [f"{seed}.png" for seed in range(6)]
    assert not any(file["duplicate"] for file in document["files"])
    site.classify()
    said(browser, "6 of 6 files finished.")


@pytest.mark.long
def test_an_unchanged_page_costs_an_empty_answer_and_a_hidden_one_waits_until_it_is_seen(
    site: ServedSite, browser: webdriver.Chrome
) -> None:
    # given: what the server answers about the submission
    answers: list[str] = []
    served = site.app.wsgi_app

    def noted(environ: Any, start: Any) -> Any:
        def note(status: str, *rest: Any) -> Any:
            if environ["PATH_INFO"] == "/submissions/1":
                answers.append(status[:3])
            return start(status, *rest)

        return served(environ, note)

    site.app.wsgi_app = noted  # type: ignore[method-assign, assignment]
    site.take_in(1)
    browser.get(f"{site.address}/submissions/1")
    # when nothing changes
    wait_until(lambda: answers.count("304") >= 2, within_seconds=PATIENCE, what="two answers without a body")
    # when nobody looks, and then somebody does
    hide = "Object.defineProperty(document, 'hidden', {value: arguments[0], configurable: true})"
    browser.execute_script(hide, True)
    site.classify()
    browser.execute_script(f"{hide}; document.dispatchEvent(new Event('visibilitychange'))", False)
    # then
    wait_until(lambda: "1 of 1 file classified." in texts(browser, "#live")[0], within_seconds=30, what="the end")
    assert set(answers) == {"200", "304"}
    assert complaints(browser) == []
