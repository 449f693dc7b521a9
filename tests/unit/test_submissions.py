"""Submissions: how far one is, when it will probably be finished, its files by pages, and the list to find it again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import insert, select, update

from core.database import now
from core.records.workers import Identity, beat
from core.settings import Settings
from core.tables import JobRow, JobStatus, Source
from tests.conftest import draw_radiograph
from tests.fakes import take_in
from tests.unit.web_fixtures import Site
from web import upload
from web.submitted import coarse


@pytest.fixture
def site(settings: Settings, database_url: str) -> Iterator[Site]:
    site = Site(settings.with_changes(database_url=database_url))
    yield site
    site.database.dispose()


def files(*seeds: int) -> list[tuple[str, bytes]]:
    return [(f"hand {seed}.png", draw_radiograph(seed, width=16, height=16)) for seed in seeds]


def work_done(site: Site, jobs: int, *, seconds: float) -> None:
    """As if a living worker had finished that many jobs of others, evenly, in the last seconds."""
    take_in(site.database, *range(1_000, 1_000 + jobs), priority=99)
    with site.database.transaction() as session:
        beat(session, Identity(role="worker", host="test", pid=1), engine="litert")
        at = now(session)
        ids = session.scalars(select(JobRow.id).where(JobRow.priority == 99).order_by(JobRow.id)).all()
        for place, number in enumerate(ids):
            ended = at - timedelta(seconds=seconds * (1 - place / jobs))
            session.execute(update(JobRow).where(JobRow.id == number).values(status=JobStatus.DONE, finished_at=ended))


def test_files_are_counted_by_the_least_finished_of_their_jobs(site: Site) -> None:
    site.add_model("second")
    document = site.upload(*files(1, 2, 3, 4), ("empty.png", b"")).json
    assert document["counts"] == {
        **dict.fromkeys(("running", "done", "failed", "quarantined", "cancelled"), 0),
        "waiting": 4,
        "rejected": 1,
    }
    with site.database.transaction() as session:
        for radiograph, (one, two) in {
            1: ("done", "done"),
            2: ("done", "failed"),
            3: ("done", "running"),
            4: ("quarantined", "cancelled"),
        }.items():
            for model, status in ((1, one), (2, two)):
                jobs = update(JobRow).where(JobRow.radiograph_id == radiograph, JobRow.model_version_id == model)
                session.execute(jobs.values(status=status))
    counts = site.client.get(document["url"]).json["counts"]
    assert {name: count for name, count in counts.items() if count} == {
        "running": 1,
        "done": 1,
        "failed": 1,
        "quarantined": 1,
        "rejected": 1,
    }
    page = site.client.get(document["page"]).text
    assert "3 of 4 files finished so far. 1 file was rejected." in page
    assert '<progress max="4" value="3"' in page
    for words in ("Rejected at the door", "Set aside", "Being classified"):
        assert words in page
    assert f"/results?submission={document['submission']}" in page
    assert f"/results/export.csv?submission={document['submission']}" in page


def test_the_time_to_go_is_known_from_what_others_took(site: Site) -> None:
    # given: nobody knows anything yet
    document = site.upload(*files(1, 2), to="/submissions", headers={"Accept": "application/json"}).json
    assert document["seconds_left"] is None
    assert "Time to go: unknown." in site.client.get(document["page"]).text
    # when: two a second for half a minute, and a bulk drop behind
    work_done(site, 60, seconds=30)
    take_in(site.database, *range(100), source=Source.INBOX)
    # then: only what is ahead counts
    assert site.client.get(document["url"]).json["seconds_left"] == 5
    assert "About 5 s to go." in site.client.get(document["page"]).text
    bulk = site.client.get("/api/v1/submissions").json["submissions"][0]
    assert bulk["source"] == "inbox"
    assert 50 <= site.client.get(bulk["url"]).json["seconds_left"] <= 60
    # and: no estimate without a living worker; nothing is left of what has ended
    with site.database.transaction() as session:
        session.connection().exec_driver_sql("DELETE FROM workers")
    assert site.client.get(document["url"]).json["seconds_left"] is None
    site.classify()
    assert site.client.get(document["url"]).json["seconds_left"] == 0
    assert "to go" not in site.client.get(document["page"]).text


@pytest.mark.parametrize(("seconds", "said"), [(0, 5), (4.2, 5), (5.1, 10), (61, 75), (3000, 3000), (7300, 7800)])
def test_estimates_are_coarse(seconds: float, said: int) -> None:
    assert coarse(seconds) == said


def test_files_come_in_pages_that_join_without_gap(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    document = site.upload(*files(*range(5)), ("empty.png", b"")).json
    names, address = [], f"{document['url']}?limit=4"
    while address:
        part = site.client.get(address).json
        assert part["counts"] == document["counts"]
        names.append([file["name"] for file in part["files"]])
        address = part["next"] and f"{part['next']}&limit=4"
    assert names == [["hand 0.png", "hand 1.png", "hand 2.png", "hand 3.png"], ["hand 4.png", "empty.png"]]
    assert document["next"] is None

    monkeypatch.setattr(upload, "_FILES", 4)
    page = site.client.get(document["page"]).text
    assert ("hand 3.png" in page, "hand 4.png" in page, "More files" in page) == (True, False, True)
    later = site.client.get(f"{document['page']}?after=4").text
    assert ("hand 3.png" in later, "empty.png" in later, "First files" in later) == (False, True, True)
    assert site.client.get(f"{document['page']}?after=x").status_code == 400


def test_an_unchanged_submission_is_an_empty_304(site: Site) -> None:
    document = site.upload(*files(1)).json
    for address in (document["url"], document["page"]):
        first = site.client.get(address)
        again = {"If-None-Match": first.headers["ETag"]}
        same = site.client.get(address, headers=again)
        assert (same.status_code, same.data) == (304, b"")
    site.classify()
    assert site.client.get(address, headers=again).status_code == 200


def test_submissions_are_listed_newest_first_and_found_by_name(site: Site) -> None:
    site.upload(*files(1), name="Ward 3, winter")
    site.upload(*files(2, 3))
    site.upload(*files(4), name="teaching 100%")

    listed = site.client.get("/api/v1/submissions?limit=2").json
    assert [(each["name"], each["files"]) for each in listed["submissions"]] == [("teaching 100%", 1), ("", 2)]
    rest = site.client.get(listed["next"]).json
    assert ([each["name"] for each in rest["submissions"]], rest["next"]) == (["Ward 3, winter"], None)
    found = site.client.get("/api/v1/submissions?name=wARD").json["submissions"]
    assert [each["name"] for each in found] == ["Ward 3, winter"]

    page = site.client.get("/submissions").text
    assert page.index("teaching 100%") < page.index("Submission 2") < page.index("Ward 3, winter")
    assert "Ward 3" not in site.client.get("/submissions?name=100%25").text
    assert "No submission has such a name" in site.client.get("/submissions?name=nothing").text
    assert "These are the oldest" in site.client.get("/submissions?before_id=3").text
    # Radiographs are found by the name of their submission too.
    assert [each["id"] for each in site.client.get("/api/v1/radiographs?name=winter").json["radiographs"]] == [1]


def test_a_long_list_of_submissions_has_pages(site: Site) -> None:
    from core.tables import SubmissionRow

    with site.database.transaction() as session:
        at = now(session)
        row = {"name": "", "source": "inbox", "priority": 0, "tags": [], "created_at": at}
        session.execute(insert(SubmissionRow), [row] * 60)
    page = site.client.get("/submissions").text
    assert 'href="/submissions?before_id=11"' in page
    assert "Submission 10<" in site.client.get("/submissions?before_id=11").text


def test_there_is_nothing_to_list_at_first(site: Site) -> None:
    assert "Nothing has come in yet" in site.client.get("/submissions").text
