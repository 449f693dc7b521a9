"""People at the pages in a real browser: two at once, another model asked, names and notes that are made to harm."""

from __future__ import annotations

import pytest
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By

from core.records.models import set_active
from tests.conftest import draw_radiograph, wait_until
from tests.integration.test_web_browser import ServedSite, browser, complaints, press, site, texts

pytestmark = pytest.mark.browser
__all__ = ["browser", "site"]

SCRIPTS = ("<script>document.title='owned'</script>", "<img src=x onerror=\"document.title='owned'\">")


def test_who_was_too_late_is_told_and_nothing_is_overwritten(site: ServedSite, browser: webdriver.Chrome) -> None:
    # given: Ben has the radiograph before him while Anna reviews it
    site.take_in(1)
    site.classify("spiral", 0.4)
    browser.get(f"{site.address}/review/1")
    field = browser.find_element(By.ID, "reader")
    field.clear()
    field.send_keys("Ben")
    browser.find_element(By.CSS_SELECTOR, ".inline button").click()
    wait_until(
        lambda: "/review/1" in browser.current_url and texts(browser, ".choices") != [], within_seconds=30, what="back"
    )
    site.client.post("/review/reader", data={"name": "Anna"})
    assert site.client.post("/review/1", data={"label": "avulsion"}).status_code == 303
    # when
    press(browser, "a")
    # then
    [told] = texts(browser, "[role=alert]")
    assert "Anna reviewed this radiograph meanwhile" in told
    assert "nothing was overwritten" in told
    assert [review["reviewer"] for review in site.client.get("/api/v1/radiographs/1").json["reviews"]] == ["Anna"]
    # Having been told, Ben may still say it.
    press(browser, "a")
    assert [each["reviewer"] for each in site.client.get("/api/v1/radiographs/1").json["reviews"]] == ["Anna", "Ben"]


def test_another_model_is_asked_and_the_page_follows(site: ServedSite, browser: webdriver.Chrome) -> None:
    site.take_in(1)
    site.classify("spiral", 0.7)
    site.add_model("large")
    with site.database.transaction() as session:
        set_active(session, "large", active=False, actor="test")
    browser.get(f"{site.address}/radiographs/1")
    browser.find_element(By.CSS_SELECTOR, ".ask button").click()
    wait_until(lambda: "Waiting in the queue" in "".join(texts(browser, "#live")), within_seconds=30, what="it waits")
    site.classify("avulsion", 0.6)
    wait_until(lambda: "Avulsion" in "".join(texts(browser, "#live")), within_seconds=30, what="the answer shows")
    assert texts(browser, "#live .label")[0] == "Spiral"
    assert complaints(browser) == []


@pytest.mark.long
@pytest.mark.parametrize("script", SCRIPTS)
def test_a_name_and_a_note_that_are_scripts_do_nothing(
    site: ServedSite, browser: webdriver.Chrome, script: str
) -> None:
    site.upload((f"{script}.png", draw_radiograph(1)), to="/submissions", name=script)
    site.classify("spiral", 0.4)
    site.client.post("/review/reader", data={"name": script})
    assert site.client.post("/review/1", data={"label": "spiral", "note": script}).status_code == 303
    for address in ("/results", "/radiographs/1", "/submissions/1", "/review/1", "/review/figures"):
        browser.get(site.address + address)
        assert "owned" not in browser.title, address
        assert browser.execute_script("return document.querySelectorAll('img[src=x], script:not([src])').length") == 0
    browser.get(f"{site.address}/radiographs/1")
    assert browser.execute_script("return document.body.innerText").count(script) >= 2  # reader and note
    assert complaints(browser) == []


@pytest.mark.long
def test_keys_in_a_field_are_letters(site: ServedSite, browser: webdriver.Chrome) -> None:
    site.take_in(1)
    site.classify("spiral", 0.4)
    browser.get(f"{site.address}/review/1")
    ActionChains(browser).send_keys("n").send_keys("a1uxz").perform()
    note = browser.find_element(By.ID, "note")
    wait_until(lambda: note.get_property("value") == "a1uxz", within_seconds=30, what="the note is written")
    assert site.client.get("/api/v1/radiographs/1").json["reviews"] == []
