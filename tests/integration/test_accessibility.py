"""Every page, in every state, passes axe-core in light and in dark (WCAG 2.2 AA, and its advice)."""

from __future__ import annotations

import numpy as np
import pytest
from flask import Flask
from selenium import webdriver
from sqlalchemy import update

from core.activation import packed
from core.records.models import set_active
from core.tables import PredictionRow, Role
from tests.chromium import colours, resize
from tests.conftest import PROJECT
from tests.integration.test_web_browser import ServedSite, browser, site
from tests.unit.web_fixtures import LABELS, PASSWORD

pytestmark = pytest.mark.browser
__all__ = ["browser", "site"]

_AXE = (PROJECT / "tests" / "axe" / "axe.min.js").read_text(encoding="utf-8")
_RUN = """
    const [rules, done] = arguments;
    const kinds = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
    const asked = rules ? {runOnly: rules} : {runOnly: kinds, rules: {"target-size": {enabled: true}}};
    axe.run(document, {...asked, resultTypes: ["violations"]}).then(
        (found) => done(found.violations.flatMap((each) => each.nodes.map(
            (node) => `${each.id}: ${node.target.join(" ")}: ${node.failureSummary}`))),
        (problem) => done([String(problem)]));
"""
#: What can be wrong in other colours or on a small screen alone.
_DIFFERENT = ["color-contrast", "target-size", "scrollable-region-focusable"]
_SHIFT = """
    const [done] = arguments;
    new PerformanceObserver((list) => done(list.getEntries().reduce((sum, each) => sum + each.value, 0)))
        .observe({type: "layout-shift", buffered: true});
    setTimeout(() => done(0), 100);
"""
#: Share of the screen times share of its height that may move while a page loads; 0.1 is what browsers call good.
_MOST_SHIFT = 0.02
BINARY = ("fractured", "not-fractured")
#: Answers that are no pages.
_FILES = ("/api/", "/static/", "/healthz", "/readyz", "/metrics", "/results/export", "/review/labels.zip")
_VALUES = {"radiograph_id": 1, "submission_id": 1}


def pages(app: Flask) -> list[str]:
    """Every page that there is."""
    found = []
    with app.test_request_context():
        for rule in app.url_map.iter_rules():
            if "GET" in (rule.methods or ()) and not rule.rule.startswith(_FILES):
                _, path = rule.build({name: _VALUES.get(name, 1) for name in rule.arguments}) or ("", "")
                found.append(str(path))
    return sorted(found)


def violations(browser: webdriver.Chrome, site: ServedSite, *addresses: str) -> list[str]:
    """What axe finds: everything in light on a wide screen, what depends on them in dark and on a phone."""
    found = []
    browser.set_script_timeout(120)
    for address in addresses:
        resize(browser, 1280, 900)
        colours(browser, "light")
        browser.get(site.address + address)
        if (shift := browser.execute_async_script(_SHIFT)) > _MOST_SHIFT:
            found.append(f"{address}: moves by {shift:.3f} while it loads")
        browser.execute_script(_AXE)
        found += [f"{address}: {each}" for each in browser.execute_async_script(_RUN, None)]
        colours(browser, "dark")
        resize(browser, 390, 800, mobile=True)
        found += [f"{address} (dark, phone): {each}" for each in browser.execute_async_script(_RUN, _DIFFERENT)]
        if browser.execute_script("return document.documentElement.scrollWidth") > 390:
            found.append(f"{address} (phone): scrolls sideways")
    return found


@pytest.fixture
def filled(site: ServedSite) -> ServedSite:
    """Radiographs in every state: 1 answered twice, reviewed twice; 2 failed; 3 waiting; 4 damaged; 5 unsuspected."""
    site.add_model("broken", task="fracture", labels=BINARY)
    site.take_in(1)
    site.classify_only(1, "spiral", 0.4, LABELS)
    site.classify_only(2, "fractured", 0.8, BINARY)
    site.add_model("large")
    site.add_model("spare")
    with site.database.transaction() as session:
        session.execute(update(PredictionRow).values(activation=packed(np.eye(3)), flags=["doubtful"]))
        for name in ("large", "spare"):
            set_active(session, name, active=False, actor="test")
    site.client.post("/radiographs/1/classify", data={"model": "large"})
    site.classify("avulsion", 0.6)
    site.take_in(2)
    site.fail("bug", "It broke.")
    site.take_in(4)
    site.fail("unreadable", "The picture data are cut off.")
    site.take_in(5)
    site.classify_only(1, "spiral", 0.7, LABELS)
    site.classify_only(2, "not-fractured", 0.9, BINARY)
    site.upload(("hand 3.png", b"no picture"), ("hand 6.png", b""))
    site.take_in(3)
    for name, data in (
        ("Anna", {"label": "spiral"}),
        ("Ben", {"label": "avulsion", "reading": "2", "note": "a\nchip"}),
    ):
        site.client.post("/review/reader", data={"name": name})
        assert site.client.post("/review/1", data=data).status_code == 303
    return site


def test_axe_finds_nothing_on_any_page(filled: ServedSite, browser: webdriver.Chrome) -> None:
    every = pages(filled.app)
    assert {"/", "/results", "/radiographs/1", "/review/1", "/review/figures", "/queue", "/api"} <= set(every)
    states = ["/radiographs/2", "/radiographs/3", "/radiographs/4", "/radiographs/5", "/results?label=bent", "/nowhere"]
    states += [
        "/results?flag=doubtful",
        "/submissions/4",
        "/review/5?reading=2",
        "/review/1?reading=2&question=fracture",
    ]
    assert violations(browser, filled, *every, *states) == []


@pytest.mark.long
def test_axe_finds_nothing_on_pages_without_anything(site: ServedSite, browser: webdriver.Chrome) -> None:
    assert violations(browser, site, "/results", "/queue", "/review", "/review/figures", "/review?reading=2") == []


@pytest.mark.long
def test_axe_finds_nothing_where_people_sign_in(site: ServedSite, browser: webdriver.Chrome) -> None:
    site.take_in(1)
    site.classify()
    site.add_user("vera", Role.VIEWER)
    assert violations(browser, site, "/sign-in?next=/results") == []
    # The check sees what is wrong.
    browser.execute_script(
        "document.querySelector('label').remove(); document.querySelector('h1').style.color = '#444'"
    )
    spoilt = browser.execute_async_script(_RUN, None)
    assert {each.partition(":")[0] for each in spoilt} >= {"label", "color-contrast"}
    browser.get(f"{site.address}/sign-in?next=/results")
    for field, text in (("name", "Vera"), ("password", PASSWORD)):
        browser.find_element("id", field).send_keys(text)
    browser.find_element("css selector", ".sign-in button").click()
    assert violations(browser, site, "/", "/radiographs/1", "/review/1") == []
