"""The queue page and its part of the API: figures that are cheap to ask for again, and orders that are carried out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from core.database import now
from core.errors import StoreUnavailable
from core.records.history import Bar
from core.records.workers import Identity, beat
from core.settings import Settings
from core.storage import FolderStore
from core.tables import EventRow, JobRow, JobStatus, MinuteRow, Role
from tests.conftest import draw_radiograph
from tests.fakes import FakeClassifier, write_bundle
from tests.unit.web_fixtures import OURS, Site
from web.plot import plotted
from worker.batching import work_off
from worker.context import WorkerContext
from worker.main import register_installed
from worker.pulse import Pulse

QUEUE = "/api/v1/queue"


def press(site: Site, button: str, **fields: str) -> str:
    """Press the one button of the queue page with this name; return what the page says then."""
    page = site.client.get("/queue").text
    forms = [form for form in re.findall(r"<form.*?</form>", page, re.DOTALL) if button in form]
    assert len(forms) == 1, button
    assert all(f'name="{name}"' in forms[0] for name in fields), forms[0]
    [action] = re.findall(r'action="([^"]+)"', forms[0])
    hidden = dict(re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', forms[0]))
    return site.client.post(action, data=hidden | fields, headers=OURS, follow_redirects=True).text


def counts(site: Site) -> dict[str, Any]:
    return dict(site.client.get(QUEUE).get_json())


def last_event(site: Site) -> tuple[str, str, dict[str, Any]]:
    with site.database.reading() as session:
        row = session.scalars(select(EventRow).order_by(EventRow.id.desc()).limit(1)).one()
        return row.kind, row.actor, row.detail


def settled(site: Site) -> str:
    """Return the figures' tag once the broker, which is absent here, has been looked for."""
    answer = site.client.get(QUEUE)
    while answer.json["broker"]["answers"] is None:
        answer = site.client.get(QUEUE)
    return str(answer.headers["ETag"])


def test_figures_that_have_not_changed_are_a_304_without_a_body(site: Site) -> None:
    tag = settled(site)

    same = site.client.get(QUEUE, headers={"If-None-Match": tag})
    site.take_in(1)
    other = site.client.get(QUEUE, headers={"If-None-Match": tag})

    assert (same.status_code, same.data) == (304, b"")
    assert other.status_code == 200
    assert other.json["waiting"] == 1


def test_a_broker_that_is_away_is_said_and_the_database_still_tells(site: Site) -> None:
    site.take_in(1)
    settled(site)

    document = counts(site)

    assert document["broker"] == {
        "answers": False,
        "announced": None,
        "prefetched": 0,
        "unacknowledged": None,
        "agrees": False,
        "words": "The broker does not answer. What waits is safe in the database and is announced later.",
    }
    assert document["waiting"] == 1
    assert "The broker does not answer." in site.client.get("/queue").text


def test_workers_are_shown_with_their_state_and_what_they_hold(site: Site) -> None:
    site.take_in(1)
    with site.database.transaction() as session:
        beat(session, Identity("worker", "test", 1), engine="litert", model="kind/1.0.0", idle_seconds=1)

    assert (counts(site)["workers"][0]["state"], counts(site)["seconds_to_finish"]) == ("idle", None)
    site.claim()
    [worker] = counts(site)["workers"]

    assert (worker["state"], worker["holds"], worker["model"], worker["paused"]) == ("busy", 1, "kind/1.0.0", False)
    assert worker["held_seconds"] >= 0
    assert "kind/1.0.0" in site.client.get("/queue").text


def test_time_to_finish_is_told_from_what_was_done_lately(site: Site) -> None:
    assert counts(site)["seconds_to_finish"] == 0
    site.take_in(1, 2)
    site.classify()
    site.take_in(3)
    assert counts(site)["seconds_to_finish"] is None  # nobody is there to do it
    with site.database.transaction() as session:
        beat(session, Identity("worker", "test", 1), engine="litert")
    site.app.extensions["fracture-queue"].overview._pace_until = 0.0
    document = counts(site)
    assert document["seconds_to_finish"] > 0
    assert document["waited"]["p50"] <= document["waited"]["p95"]
    assert document["rates"]["minute"] == pytest.approx(2 / 60)


def test_a_paused_intake_refuses_every_door_and_says_until_when(site: Site) -> None:
    page = press(site, "Pause the intake", note="moving the disk")

    assert "The intake is paused since" in page
    assert last_event(site) == ("paused", "page", {"target": "intake", "host": None, "note": "moving the disk"})
    for to in ("/api/v1/radiographs", "/submissions"):
        answer = site.upload(("one.png", draw_radiograph(1)), to=to, headers={"Accept": "application/json"})
        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "60"
        assert answer.json["code"] == "intake-paused"
        assert answer.json["detail"].endswith("Nothing was taken; send it again when the intake is resumed.")
    assert sum(counts(site)[status.value] for status in JobStatus) == 0
    assert counts(site)["paused"][0]["target"] == "intake"

    assert "The intake is paused since" not in press(site, "Resume")
    assert site.upload(("one.png", draw_radiograph(1))).status_code == 202
    assert last_event(site)[0] == "received"


def test_taking_back_everything_has_to_be_said(site: Site) -> None:
    site.take_in(1)
    for body in ({}, {"all": False}, {"all": None}, {"all": 1}, {"code": "unreadable"}):
        answer = site.client.post(f"{QUEUE}/cancel", json=body)
        assert (answer.status_code, answer.json["code"]) == (422, "nothing-named"), body
        assert '{"all": true}' in answer.json["detail"]
    assert site.client.post(f"{QUEUE}/cancel").status_code == 400  # no JSON at all
    assert site.client.post(f"{QUEUE}/cancel", json={"all": True, "code": "unreadable"}).status_code == 400
    assert site.client.post("/queue/cancel", data={}, headers=OURS).status_code == 422
    assert counts(site)["waiting"] == 1
    assert site.client.post(f"{QUEUE}/cancel", json={"all": True}).json == {"jobs": 1}
    assert counts(site)["waiting"] == 0


def test_pausing_by_the_api_says_what_is_paused(site: Site) -> None:
    unknown = site.client.post(f"{QUEUE}/pause", json={"target": "workers", "host": "ward-7"})
    assert (unknown.status_code, unknown.json["code"]) == (404, "not-found")
    with site.database.transaction() as session:
        beat(session, Identity("worker", "ward-7", 1), engine="litert")
    answer = site.client.post(f"{QUEUE}/pause", json={"target": "workers", "host": "ward-7"})
    assert (answer.status_code, answer.json["changed"]) == (200, True)
    assert [(each["target"], each["host"]) for each in answer.json["paused"]] == [("workers", "ward-7")]
    assert site.client.post(f"{QUEUE}/resume", json={"target": "workers"}).json == {"changed": True, "paused": []}
    for wrong in (
        {},
        {"target": "beat"},
        {"target": 1},
        {"target": "workers", "host": 1},
        {"target": "intake", "host": "ward-7"},
        {"target": "workers", "host": "a\x00"},
    ):
        assert site.client.post(f"{QUEUE}/pause", json=wrong).status_code == 400, wrong


def test_what_waits_is_taken_back_one_by_one_by_submission_or_all(site: Site) -> None:
    site.take_in(1, 2)
    site.take_in(3)
    site.take_in(4)

    assert 'action="/radiographs/4/cancel"' in site.client.get("/radiographs/4").text
    assert site.client.post("/api/v1/radiographs/4/cancel").json == {"jobs": 1}
    assert "/cancel" not in site.client.post("/radiographs/4/cancel", headers=OURS, follow_redirects=True).text
    assert site.client.post("/submissions/1/cancel", headers=OURS).status_code == 303
    assert (counts(site)["cancelled"], counts(site)["waiting"]) == (3, 1)
    assert "1 job was cancelled." in press(site, "Cancel 1")
    assert counts(site)["cancelled"] == 4
    assert last_event(site)[:2] == ("cancelled", "page")
    for path in ("/radiographs/99/cancel", "/api/v1/radiographs/99/cancel", "/api/v1/submissions/99/cancel"):
        assert site.client.post(path).status_code == 404


def test_a_submission_is_put_first_or_last(site: Site) -> None:
    site.take_in(1)
    site.take_in(2)
    page = site.client.get("/submissions/2").text
    assert 'action="/submissions/2/priority"' in page

    answer = site.client.post("/submissions/2/priority", data={"priority": "20"}, headers=OURS, follow_redirects=True)
    assert "The priority is 20; it counts for 1 job that waits." in answer.text
    assert site.client.post("/api/v1/submissions/1/priority", json={"priority": -3}).json == {"jobs": 1}
    with site.database.reading() as session:
        assert list(session.scalars(select(JobRow.priority).order_by(JobRow.id))) == [-3, 20]
    for wrong in ({"priority": 101}, {"priority": "x"}, {"priority": 1.5}, {"priority": True}, {}):
        assert site.client.post("/api/v1/submissions/1/priority", json=wrong).status_code == 400, wrong
    assert site.client.post("/api/v1/submissions/9/priority", json={"priority": 1}).status_code == 404


def test_orders_name_who_gave_them_and_pages_show_no_button_that_would_be_refused(site: Site) -> None:
    site.take_in(1)
    site.fail()
    site.add_user("anna", Role.REVIEWER)
    site.sign_in("anna")

    page = press(site, "Retry this cause")

    assert last_event(site)[:2] == ("retried", "user:anna")
    assert "Pause" not in page
    site.add_user("vera", Role.VIEWER)
    site.client.post("/sign-out", headers=OURS)
    site.sign_in("vera")
    assert "<button" not in site.client.get("/queue").text.split("<main")[1]


def test_the_plot_is_drawn_without_script_and_says_the_same_as_its_table(site: Site) -> None:
    with site.database.transaction() as session:
        at = now(session).replace(second=0, microsecond=0)
        for minutes, done, failed in ((31, 6, 2), (32, 0, 0), (90, 4, 0)):
            session.add(MinuteRow(minute=at - timedelta(minutes=minutes), done=done, failed=failed, waiting=None))
    page = site.client.get("/queue").text

    stretches = site.client.get(f"{QUEUE}/history").json["stretches"]

    assert len(stretches) == 72
    assert sum(each["done"] for each in stretches) == 10
    assert len(re.findall(r'<rect class="done"', page)) == 2
    assert len(re.findall(r'<rect class="failed"', page)) == 1
    assert "12 answers ended, given or failed, in the last 6 hours, at most 8 in 5 minutes" in page
    assert page.count("nobody looked") == sum(not each["known"] for each in stretches)
    assert "style=" not in page


def test_bars_of_the_plot_stand_on_each_other_and_never_leave_the_drawing() -> None:
    at = datetime(2026, 1, 31, tzinfo=UTC)
    plot = plotted([Bar(at, 3, 1, True), Bar(at, 0, 0, True), Bar(at, 1, 0, True), Bar(at, 0, 0, False)])

    assert [(each.kind, each.x, each.y, each.height) for each in plot.rectangles] == [
        ("done", 0, 25, 75),
        ("failed", 0, 0, 25),
        ("done", 20, 75, 25),
        ("gap", 30, 99, 1),
    ]
    assert plotted([]).most == 0


class BrokenStore(FolderStore):
    """A store whose disk is full, and which therefore cannot even be mounted for reading."""

    full = True

    def get(self, key: str) -> bytes:
        if self.full:
            raise StoreUnavailable("The store cannot be read: No space left on device.")
        return super().get(key)


@pytest.fixture
def disk(settings: Settings) -> Iterator[tuple[Site, WorkerContext, BrokenStore]]:
    """A site with a model, a worker's parts, and the disk that both use."""
    settings = settings.with_changes(models=settings.home / "models")
    write_bundle(settings.models)
    site = Site(settings, model=False)
    register_installed(settings, site.database, "test")
    store = BrokenStore(FolderStore.at(settings.store_url).folder)
    context = WorkerContext(settings, site.database, store, Identity("worker", "test", 1))
    context._classifiers[1] = FakeClassifier()
    yield site, context, store
    site.database.dispose()


def test_one_click_after_a_full_disk_does_what_it_had_stopped_and_leaves_the_damaged_alone(
    disk: tuple[Site, WorkerContext, BrokenStore],
) -> None:
    site, context, store = disk
    pulse = Pulse(context)
    # given: five damaged files, and 31 good ones that the full disk stopped until nobody tried any more
    store.full = False
    for seed in range(5):
        site.upload((f"cut {seed}.png", draw_radiograph(seed)[:2000]))
    work_off(context, pulse)
    site.upload(*((f"good {seed}.png", draw_radiograph(100 + seed)) for seed in range(31)))
    store.full = True
    while counts(site)["waiting"]:
        work_off(context, pulse)
        with site.database.transaction() as session:
            session.execute(update(JobRow).where(JobRow.status == JobStatus.WAITING).values(available_at=now(session)))
    found = {each["code"]: (each["failed"], each["passing"]) for each in counts(site)["failures"]}
    assert found == {"store-unavailable": (31, True), "unreadable": (5, False)}
    # when: there is room again, and somebody presses one button
    store.full = False
    page = press(site, "Retry this cause: store-unavailable")
    work_off(context, pulse)
    # then
    assert "31 jobs wait again." in page
    assert site.rung[-1] == 31
    after = counts(site)
    assert (after["done"], after["failed"], after["waiting"], after["running"]) == (31, 5, 0, 0)
    assert [(each["code"], each["count"]) for each in after["failures"]] == [("unreadable", 5)]
    page = site.client.get("/queue").text
    assert "unreadable" in page
    assert after["failures"][0]["words"] in page
    assert len(after["failures"][0]["examples"]) == 3
