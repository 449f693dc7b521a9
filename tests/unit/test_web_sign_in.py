"""Signing in and out: sessions, cross-site requests, guessing, and where one goes on."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from argon2 import PasswordHasher
from sqlalchemy import select, update
from werkzeug.test import TestResponse

from core.database import Database
from core.records import users
from core.settings import Settings
from core.tables import EventRow, Role, UserRow
from tests.conftest import draw_radiograph
from tests.unit.web_fixtures import OURS, PASSWORD, Site
from web.attempts import MOST_FAILURES, WITHIN_SECONDS, Attempts
from web.parts import EXTENSION
from web.sign_in import local_address

NAME = "fracture-queue-8000"


@pytest.fixture
def guarded(site: Site) -> Site:
    """Somebody may sign in."""
    site.add_user("anna")
    return site


@pytest.fixture
def inside(guarded: Site) -> Site:
    """Anna has signed in."""
    assert guarded.sign_in("anna").status_code == 303
    assert shown(guarded) == 200
    return guarded


def shown(site: Site) -> int:
    return site.client.get("/results").status_code


def cookie_of(answer: TestResponse) -> str:
    [cookie] = [value for value in answer.headers.getlist("Set-Cookie") if value.startswith(NAME)]
    return cookie


def test_the_name_and_the_password_together_let_somebody_in(guarded: Site) -> None:
    assert shown(guarded) == 303
    answer = guarded.sign_in(" Anna ", next="/queue")

    assert (answer.status_code, answer.headers["Location"]) == (303, "/queue")
    assert shown(guarded) == 200
    assert "Sign out" in guarded.client.get("/results").text
    assert guarded.client.get("/sign-in?next=/queue").headers["Location"] == "/queue"
    with guarded.database.reading() as session:
        assert session.scalars(select(EventRow.actor).where(EventRow.kind == "signed-in")).all() == ["user:anna"]


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(guarded: Site) -> None:
    cookie = cookie_of(guarded.sign_in("anna"))

    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(cookie.split("; "))
    assert "Secure" not in cookie
    assert "anna" not in cookie


def test_behind_tls_cookies_and_browsers_stay_with_https(settings: Settings) -> None:
    site = Site(settings.with_changes(behind_tls=True))
    try:
        site.add_user("anna")
        answer = site.sign_in("anna")
        [cookie] = answer.headers.getlist("Set-Cookie")
        assert cookie.startswith("__Host-fracture-queue=")
        assert {"Secure", "HttpOnly", "Path=/"} <= set(cookie.split("; "))
        assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
    finally:
        site.database.dispose()


def test_a_wrong_name_and_a_wrong_password_are_answered_alike(guarded: Site) -> None:
    pages = set()
    tried = (("anna", "wrong password"), ("bert", PASSWORD), ("", ""), ("\x00<b>", "\x00"), ("anna", "x" * 9000))
    for name, password in tried:  # as many as may fail
        answer = guarded.sign_in(name, password)
        assert answer.status_code == 401
        pages.add(answer.text)

    [page] = pages
    assert "This name and this password do not belong together." in page
    assert shown(guarded) == 303


def test_a_password_is_hashed_whether_or_not_there_is_such_a_name(
    guarded: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    verified: list[str] = []
    real = PasswordHasher.verify

    def verify(*given: Any) -> bool:
        verified.append(str(given[1])[:20])
        return real(*given)

    monkeypatch.setattr(PasswordHasher, "verify", verify)
    guarded.sign_in("anna", "wrong password")
    guarded.sign_in("bert", "wrong password")

    assert len(verified) == 2
    assert verified[0] == verified[1]


def test_who_is_disabled_is_answered_like_a_stranger(inside: Site) -> None:
    with inside.database.transaction() as session:
        users.set_disabled(session, "anna", disabled=True, actor="test")

    assert shown(inside) == 303
    assert inside.sign_in("anna").status_code == 401


def test_signing_out_ends_the_session_in_this_browser(inside: Site) -> None:
    answer = inside.client.post("/sign-out", headers=OURS)

    assert (answer.status_code, answer.headers["Location"]) == (303, "/sign-in")
    assert shown(inside) == 303
    assert inside.client.get("/sign-out").status_code in (303, 405)


@pytest.mark.parametrize("change", ["password", "sign-out"])
def test_sessions_on_all_machines_end_with_a_new_password_or_by_command(inside: Site, change: str) -> None:
    with inside.database.transaction() as session:
        if change == "password":
            users.set_password(session, "anna", session.scalars(select(UserRow.password_hash)).one(), actor="test")
        else:
            users.sign_out_everywhere(session, "anna", actor="test")

    assert shown(inside) == 303
    assert inside.sign_in("anna").status_code == 303
    assert shown(inside) == 200


def test_a_new_role_holds_from_the_next_request_on(inside: Site) -> None:
    with inside.database.transaction() as session:
        users.set_role(session, "anna", Role.VIEWER, actor="test")

    assert inside.upload(("a.png", draw_radiograph(1)), to="/submissions", headers=OURS).status_code == 403


def test_a_session_that_was_there_before_is_not_gone_on_with(guarded: Site) -> None:
    guarded.add_user("eve", Role.VIEWER)
    guarded.sign_in("eve")
    before = guarded.client.get_cookie(NAME)
    with guarded.client.session_transaction() as session:
        session["planted"] = "by eve"
    guarded.sign_in("anna")
    after = guarded.client.get_cookie(NAME)

    assert before and after
    assert before.value != after.value
    with guarded.client.session_transaction() as session:
        assert set(session) == {"_permanent", "user", "began"}
    assert "anna, admin" in guarded.client.get("/results").text


def test_a_session_that_nobody_used_for_twelve_hours_is_over(inside: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    inside.app.config["PERMANENT_SESSION_LIFETIME"] = timedelta(seconds=-1)

    assert shown(inside) == 303


def test_each_request_keeps_the_session_alive(inside: Site) -> None:
    assert "Expires=" in cookie_of(inside.client.get("/results"))
    assert inside.app.config["PERMANENT_SESSION_LIFETIME"] == timedelta(hours=12)


def test_a_cookie_that_we_did_not_sign_is_none(guarded: Site) -> None:
    for value in ("", "x", "eyJ1c2VyIjoxfQ.aaaa.bbbb"):
        guarded.client.set_cookie(NAME, value)
        assert shown(guarded) == 303


def test_a_cookie_signed_with_another_key_is_none(inside: Site) -> None:
    inside.app.secret_key = "another key"

    assert shown(inside) == 303


def test_another_sites_page_writes_nothing_with_a_session(inside: Site) -> None:
    for headers in (
        {},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "https://evil.example"},
    ):
        for address in ("/submissions", "/api/v1/radiographs"):
            answer = inside.upload(("a.png", draw_radiograph(1)), to=address, headers=headers)
            assert answer.status_code == 403, headers
        assert inside.client.post("/sign-out", headers=headers).status_code == 403
    assert inside.rung == []
    assert shown(inside) == 200


def test_our_own_page_writes_with_a_session(inside: Site) -> None:
    for seed, headers in enumerate(({"Origin": "http://localhost"}, {"Sec-Fetch-Site": "same-origin"}, OURS)):
        answer = inside.upload(("a.png", draw_radiograph(seed)), to="/submissions", headers=headers)
        assert answer.status_code == 303, headers
    inside.fail()
    assert inside.client.post("/radiographs/1/retry", headers=OURS).status_code == 303
    with inside.database.reading() as session:
        trail = session.execute(select(EventRow.kind, EventRow.actor)).all()
    assert {actor for kind, actor in trail if kind in ("received", "retried")} == {"user:anna"}


def test_a_request_with_a_session_and_a_key_is_judged_by_the_session(inside: Site) -> None:
    both = inside.add_token("scanner")
    inside.add_user("vera", Role.VIEWER)

    assert inside.upload(("a.png", draw_radiograph(1)), headers=both).status_code == 403  # says no origin
    assert inside.upload(("a.png", draw_radiograph(1)), headers={**both, **OURS}).status_code == 202
    inside.sign_in("vera")
    assert inside.upload(("a.png", draw_radiograph(1)), headers={**both, **OURS}).status_code == 403


def test_another_sites_page_signs_nobody_in(guarded: Site) -> None:
    form = {"name": "anna", "password": PASSWORD}

    assert guarded.client.post("/sign-in", data=form, headers={"Origin": "https://evil.example"}).status_code == 403
    assert shown(guarded) == 303


ELSEWHERE = [
    "https://evil.example/",
    "//evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "/\t/evil.example",
    "/\n/evil.example",
    " //evil.example",
    "javascript:alert(1)",
    "evil",
    "",
    "http:evil.example",
    "/a\\b",
    "/\r\nSet-Cookie: a=b",
]


def test_one_goes_on_only_to_a_page_of_this_site(guarded: Site) -> None:
    with guarded.app.test_request_context():
        assert {local_address(wanted) for wanted in [None, *ELSEWHERE]} == {"/"}
        assert local_address("/results?label=a&name=%2F%2Fb") == "/results?label=a&name=%2F%2Fb"
    for wanted in ELSEWHERE[:3]:
        assert "evil" not in guarded.client.get("/sign-in", query_string={"next": wanted}).text
        assert guarded.sign_in("anna", next=wanted).headers["Location"] == "/"
        assert guarded.client.get("/sign-in", query_string={"next": wanted}).headers["Location"] == "/"
        guarded.client.post("/sign-out", headers=OURS)


def test_the_form_is_no_way_to_send_large_things(guarded: Site) -> None:
    assert guarded.sign_in("anna", "x" * 20_000).status_code == 413


def test_guessing_a_name_s_password_is_slowed_down(guarded: Site) -> None:
    clock = [0.0]
    guarded.app.extensions[EXTENSION].attempts._clock = lambda: clock[0]
    for _ in range(MOST_FAILURES):
        assert guarded.sign_in("anna", "wrong password").status_code == 401

    for name in ("anna", "ANNA ", "bert"):  # the name from anywhere, the address for any name
        answer = guarded.sign_in(name, PASSWORD)
        assert answer.status_code == 429
        assert 0 < int(answer.headers["Retry-After"]) <= WITHIN_SECONDS
        assert "Wait 5 minutes." in answer.text
    assert shown(guarded) == 303

    clock[0] = WITHIN_SECONDS + 1
    assert guarded.sign_in("anna").status_code == 303


def test_failures_are_counted_by_name_and_by_address() -> None:
    attempts = Attempts()
    for number in range(MOST_FAILURES):
        assert attempts.begin("anna", f"10.0.0.{number}") == 0
    assert attempts.begin("anna", "10.0.0.99") > 0
    for number in range(MOST_FAILURES):
        assert attempts.begin(f"name{number}", "10.0.1.1") == 0
    assert attempts.begin("bert", "10.0.1.1") > 0
    assert attempts.begin("bert", "10.0.1.2") == 0


def test_success_is_no_failure() -> None:
    attempts = Attempts()
    for _ in range(3 * MOST_FAILURES):
        assert attempts.begin("anna", "10.0.0.1") == 0
        attempts.succeeded("anna", "10.0.0.1")
    assert attempts._begun == {}
    for _ in range(MOST_FAILURES - 1):
        attempts.begin("anna", "10.0.0.1")
    attempts.begin("bert", "10.0.0.1")
    attempts.succeeded("bert", "10.0.0.1")  # somebody's own success does not wipe out what they tried of others
    assert attempts.begin("anna", "10.0.0.1") == 0
    assert attempts.begin("clara", "10.0.0.1") > 0


def test_old_failures_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.attempts._MANY_KEYS", 10)
    clock = [0.0]
    attempts = Attempts(lambda: clock[0])
    for number in range(20):
        attempts.begin(f"name{number}", f"10.0.0.{number}")
    clock[0] = WITHIN_SECONDS + 1
    attempts.begin("anna", "10.0.0.1")
    assert len(attempts._begun) == 2


def test_a_hash_with_older_parameters_is_made_anew_at_sign_in(guarded: Site) -> None:
    old = PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash(PASSWORD)
    with guarded.database.transaction() as session:
        session.execute(update(UserRow).values(password_hash=old))

    assert guarded.sign_in("anna").status_code == 303

    with guarded.database.reading() as session:
        stored = session.scalars(select(UserRow.password_hash)).one()
    assert stored != old
    assert shown(guarded) == 200
    assert guarded.sign_in("anna").status_code == 303


def test_neither_names_nor_passwords_are_logged(guarded: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    guarded.sign_in("typed-into-the-wrong-field", "wrong password")
    guarded.sign_in("anna")

    assert "A sign-in from 127.0.0.1 failed." in caplog.text
    for secret in ("wrong-field", "wrong password", PASSWORD):
        assert secret not in caplog.text


@pytest.fixture
def elsewhere(settings: Settings, database_url: str, database: Database) -> Iterator[Site]:
    """The same on each database."""
    site = Site(settings.with_changes(database_url=database_url))
    yield site
    site.database.dispose()


def test_signing_in_and_out_on_each_database(elsewhere: Site) -> None:
    elsewhere.add_user("anna")
    assert elsewhere.sign_in("anna", "wrong password").status_code == 401
    assert elsewhere.sign_in("anna").status_code == 303
    assert shown(elsewhere) == 200
    elsewhere.client.post("/sign-out", headers=OURS)
    program = elsewhere.add_token("scanner")
    assert elsewhere.upload(("a.png", draw_radiograph(1)), headers=program).status_code == 202
    assert shown(elsewhere) == 303
