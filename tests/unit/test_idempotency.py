"""Uploads under an Idempotency-Key: sent again they are answered as at first, and nothing is uploaded twice."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update
from werkzeug.test import TestResponse

from core.database import now
from core.errors import DatabaseUnavailable
from core.records.idempotency import forget_old
from core.settings import Settings
from core.tables import ArrivalRow, IdempotencyKeyRow, Role
from tests.conftest import draw_radiograph
from tests.unit.test_reconciler import Broker, tick
from tests.unit.web_fixtures import Site, left_to_the_collector
from web import repeated
from web.received import take_upload

GOOD = ("hand.png", draw_radiograph(1))
OTHER = ("foot.png", draw_radiograph(2))


@pytest.fixture
def site(settings: Settings, database_url: str) -> Iterator[Site]:
    site = Site(settings.with_changes(database_url=database_url))
    yield site
    site.database.dispose()


def send(site: Site, *files: tuple[str, bytes], key: str = "k1", **more: Any) -> TestResponse:
    headers = {"Idempotency-Key": key, **more.pop("headers", {})}
    return site.upload(*files or (GOOD,), headers=headers, **more)


def count(site: Site, table: type = ArrivalRow) -> int:
    with site.database.reading() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def change(site: Site, **values: Any) -> None:
    with site.database.transaction() as session:
        session.execute(update(IdempotencyKeyRow).values(**values))


def test_the_same_request_again_is_answered_as_at_first_and_uploads_nothing(site: Site) -> None:
    first = send(site, GOOD, ("empty.png", b""), name="ward 3")
    site.classify("spiral", 0.8)

    again = send(site, GOOD, ("empty.png", b""), name="ward 3")

    assert (again.status_code, again.data, again.location) == (202, first.data, first.location)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first.headers
    assert count(site) == 2
    # An answer that says no is kept too; another key is another request; without a key nothing is kept.
    refused = send(site, ("empty.png", b""), key="k2")
    assert (refused.status_code, send(site, ("empty.png", b""), key="k2").data) == (422, refused.data)
    send(site, key="k3")
    site.upload(GOOD)
    assert (count(site), count(site, IdempotencyKeyRow)) == (5, 3)


OTHERS: dict[str, tuple[tuple[tuple[str, bytes], ...], dict[str, str]]] = {
    "content": ((OTHER,), {}),
    "file name": ((("hand 2.png", GOOD[1]),), {}),
    "one more": ((GOOD, OTHER), {}),
    "name": ((GOOD,), {"name": "ward 4"}),
    "another door": ((GOOD,), {"to": "/submissions"}),
}


def test_the_same_key_for_something_else_is_refused(site: Site) -> None:
    send(site)
    for what, (files, more) in OTHERS.items():
        answer = send(site, *files, headers={"Accept": "application/json"}, **more)
        assert (answer.status_code, answer.json["code"]) == (422, "key-reused"), what
        assert answer.mimetype == "application/problem+json"
    assert count(site) == 1


def test_of_two_requests_at_once_one_is_done_and_the_other_told_to_wait(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given: a first request that is held up in the middle
    begun, go_on, answers = threading.Event(), threading.Event(), []

    def slowly(*args: Any, **options: Any) -> Any:
        begun.set()
        assert go_on.wait(60)
        return take_upload(*args, **options)

    monkeypatch.setattr(repeated, "take_upload", slowly)
    first = threading.Thread(target=lambda: answers.append(send(site)))
    first.start()
    assert begun.wait(60)
    # when
    second = send(site)
    go_on.set()
    first.join(60)
    # then
    assert (second.status_code, second.json["code"]) == (409, "key-in-use")
    assert second.headers["Retry-After"]
    assert [answer.status_code for answer in answers] == [202]
    assert send(site).data == answers[0].data
    assert count(site) == 1


def test_many_requests_at_once_record_the_files_once(site: Site) -> None:
    barrier, answers = threading.Barrier(4), []

    def ask() -> None:
        barrier.wait(60)
        answers.append(send(site))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert {answer.status_code for answer in answers} <= {202, 409}
    assert len({answer.data for answer in answers if answer.status_code == 202}) == 1
    assert count(site) == 1


def test_a_request_that_recorded_nothing_leaves_its_key_free(site: Site) -> None:
    assert send(site, submission="77").status_code == 404
    assert send(site, ("hand.png", GOOD[1])).status_code == 202
    assert count(site) == 1


def test_a_request_that_could_not_answer_is_answered_the_next_time(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any) -> None:
        raise DatabaseUnavailable

    with monkeypatch.context() as patch:
        patch.setattr(repeated, "answer_upload", away)
        assert send(site).status_code == 503
    answer = send(site)
    assert (answer.status_code, answer.json["files"][0]["name"]) == (202, "hand.png")
    assert answer.json["files"][0]["duplicate"] is False
    assert count(site) == 1


def test_the_key_of_a_process_that_died_is_held_for_a_while(site: Site) -> None:
    # given: the row as a dead process leaves it, with and without what it recorded
    send(site)
    change(site, status=None, body=None, token="dead")
    assert send(site).status_code == 409
    with site.database.reading() as session:
        past = now(session) - timedelta(seconds=1)
    change(site, lease_until=past)
    assert send(site).json["files"][0]["arrival"] == 1
    assert count(site) == 1
    change(site, status=None, body=None, recorded=None, lease_until=past)
    assert send(site).json["files"][0]["duplicate"] is True
    assert count(site) == 2


def test_a_file_that_lies_on_the_disk_while_it_is_read_is_told_from_others(site: Site) -> None:
    large = [draw_radiograph(seed, width=1000, height=1000) for seed in (1, 2)]
    assert min(map(len, large)) > 500 * 1024  # beyond, it is no longer in memory
    with left_to_the_collector():
        assert send(site, ("hand.png", large[0])).status_code == 202
        assert send(site, ("hand.png", large[1])).status_code == 422
        assert send(site, ("hand.png", large[0])).headers["Idempotent-Replayed"] == "true"


def test_a_key_belongs_to_who_sent_it(site: Site) -> None:
    site.add_user("anna", Role.ADMIN)
    one, two = site.add_token("scanner"), site.add_token("archive")
    first = send(site, headers=one)
    assert send(site, headers=two).json["submission"] != first.json["submission"]
    assert send(site, headers=one).data == first.data
    assert count(site) == 2


def test_keys_are_kept_for_a_day_and_then_tidied_away(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    send(site)
    with site.database.reading() as session:
        at = now(session)
    change(site, created_at=at - timedelta(hours=23, minutes=59))
    with site.database.transaction() as session:
        forget_old(session)
    assert count(site, IdempotencyKeyRow) == 1
    change(site, created_at=at - timedelta(hours=24, minutes=1))
    assert send(site, OTHER).status_code == 202  # it is a new key again, whether or not anybody has tidied up
    change(site, created_at=at - timedelta(hours=24, minutes=1))
    broker = Broker()
    monkeypatch.setattr("worker.reconciler.announced", broker.announced)
    tick(site.settings, site.database)
    assert count(site, IdempotencyKeyRow) == 0


@pytest.mark.parametrize("key", ["", " ", "a b", "x" * 256, "\N{LATIN SMALL LETTER E WITH ACUTE}"])
def test_a_key_that_cannot_be_used_is_refused_in_a_sentence(site: Site, key: str) -> None:
    answer = send(site, key=key)
    assert answer.status_code == 400
    assert answer.json["detail"].startswith("The header Idempotency-Key is not")
    assert count(site) == 0


def test_parts_without_a_name_are_told_in_a_sentence_under_a_key_too(settings: Settings) -> None:
    site = Site(settings)
    part = b'--x\r\nContent-Disposition: form-data; filename="hand.png"\r\n\r\n' + GOOD[1] + b"\r\n"
    field = b"--x\r\nContent-Disposition: form-data\r\n\r\nnothing\r\n"
    named = b'--x\r\nContent-Disposition: form-data; name="name"\r\n\r\nward\r\n'
    answer = site.client.post(
        "/api/v1/radiographs",
        data=part + field + named + b"--x--\r\n",
        content_type="multipart/form-data; boundary=x",
        headers={"Idempotency-Key": "k1"},
    )
    site.database.dispose()
    assert (answer.status_code, answer.json["code"]) == (400, "bad-parameter")
