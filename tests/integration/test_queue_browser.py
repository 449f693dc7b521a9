"""The queue page in a real browser, with a stand-in for the worker."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

from core.records.workers import Identity, beat
from tests.conftest import wait_until
from tests.integration.test_web_browser import ServedSite, browser, complaints, site, texts

__all__ = ["browser", "site"]  # fixtures

pytestmark = pytest.mark.browser


def within(condition: Callable[[], bool], what: str) -> None:
    wait_until(condition, within_seconds=30, what=what)


def test_the_queue_page_keeps_itself_fresh_and_one_click_tries_a_cause_again(
    site: ServedSite, browser: webdriver.Chrome
) -> None:
    def counted(status: str, count: str) -> None:
        within(lambda: texts(browser, f'[data-figure="{status}"]') == [count], what=f"{count} {status}")

    browser.get(f"{site.address}/queue")
    counted("waiting", "0")
    site.take_in(1, 2, 3)
    counted("waiting", "3")
    with site.database.transaction() as session:
        beat(session, Identity("worker", "<b>ward", 7), engine="litert")
    within(lambda: "worker@<b>ward:7" in texts(browser, "tbody th"), what="the worker appears, as text")
    site.claim()
    counted("running", "3")
    site.add_model("other")
    site.take_in(4)
    site.fail("store-unavailable", "No space left on device.")
    button = '[aria-label="Retry this cause: store-unavailable"]'
    within(lambda: len(texts(browser, button)) == 1, what="the cause appears")
    browser.find_element(By.CSS_SELECTOR, button).click()
    within(lambda: texts(browser, ".told") == ["2 jobs wait again."], what="it is told")
    counted("waiting", "2")
    site.classify()
    counted("done", "2")
    within(lambda: "Nothing has failed." in texts(browser, ".empty"), what="no cause is left")
    assert complaints(browser) == []


@pytest.mark.long
def test_a_page_whose_server_is_away_says_that_its_figures_are_old(
    site: ServedSite, browser: webdriver.Chrome, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser.get(f"{site.address}/queue")
    old = '[data-problem="away"]:not([hidden])'
    assert texts(browser, old) == []
    with monkeypatch.context() as broken:
        broken.setattr("web.api.figures_now", lambda: 1 / 0)
        within(lambda: texts(browser, old) == ["The page gets no answer; these figures are old."], what="it is said")
    within(lambda: texts(browser, old) == [], what="the figures are new again")
