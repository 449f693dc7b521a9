"""Who may do what: open on this machine until there is a user, then by role, for each endpoint."""

from __future__ import annotations

import itertools
import logging
import re
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, update
from werkzeug.test import TestResponse

from core.records import tokens, users
from core.settings import Settings
from core.tables import EventRow, Role, TokenRow
from tests.conftest import draw_radiograph
from tests.unit.web_fixtures import OURS, Site, password_hash
from web.access import LEAST_ROLE, PUBLIC
from web.door import Door

#: What fills in each address.
VALUES = {"radiograph_id": 1, "submission_id": 1, "form": "json", "filename": "absent.js"}


def addresses(app: Flask) -> list[tuple[str, str, str]]:
    """Every endpoint with a method and an address."""
    found = []
    with app.test_request_context():
        for rule in app.url_map.iter_rules():
            values = {name: VALUES[name] for name in rule.arguments}
            _, path = rule.build(values) or ("", "")
            found += [
                (rule.endpoint, method, path)
                for method in sorted(rule.methods or ())
                if method not in ("HEAD", "OPTIONS")
            ]
    return found


@pytest.fixture
def filled(site: Site) -> Site:
    site.take_in(1)
    site.fail()
    return site


def test_every_endpoint_is_public_or_has_a_role(site: Site) -> None:
    endpoints = {rule.endpoint for rule in site.app.url_map.iter_rules()}

    assert endpoints == PUBLIC | set(LEAST_ROLE)
    assert not PUBLIC & set(LEAST_ROLE)


def test_whatever_changes_something_is_above_a_viewer(site: Site) -> None:
    methods = {"POST", "PUT", "PATCH", "DELETE"}
    writing = {rule.endpoint for rule in site.app.url_map.iter_rules() if methods & (rule.methods or set())} - PUBLIC

    assert {each for each in writing if LEAST_ROLE[each] == Role.VIEWER} == {"sign_in.post_sign_out"}


@pytest.mark.parametrize("role", [None, *Role])
def test_each_role_may_do_what_the_table_says_and_nothing_else(filled: Site, role: Role | None) -> None:
    filled.add_user("anna")
    headers = filled.add_token("program", role) if role else {}
    for endpoint, method, path in addresses(filled.app):
        with filled.client.open(path, method=method, headers=headers, data={} if method == "POST" else None) as answer:
            where = f"{method} {path} as {role}"
            if endpoint in PUBLIC:
                assert answer.status_code not in (401, 403) or "do not belong together" in answer.get_data(
                    as_text=True
                ), where
            elif role is None:
                if path.startswith("/api/"):
                    assert answer.status_code == 401, where
                    assert answer.headers["WWW-Authenticate"] == "Bearer"
                else:
                    assert answer.status_code == 303, where
                    assert answer.headers["Location"].startswith("/sign-in"), where
            elif role.covers(LEAST_ROLE[endpoint]):
                assert answer.status_code not in (401, 403), where
                assert not answer.headers.get("Location", "").startswith("/sign-in?"), where
            else:
                assert answer.status_code == 403, where
                words = f"This needs the role {LEAST_ROLE[endpoint]}; program has the role {role}."
                assert words in str(answer.data, "utf-8")


def test_an_endpoint_that_the_table_forgot_is_an_admins(filled: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(LEAST_ROLE, "queue.queue_page")
    filled.add_user("anna")
    answers = [filled.client.get("/queue", headers=filled.add_token(role.value, role)) for role in Role]

    assert [answer.status_code for answer in answers] == [403, 403, 200]


def test_what_does_not_exist_is_told_to_who_is_known_alone(site: Site) -> None:
    site.add_user("anna")
    program = site.add_token("program", Role.VIEWER)

    for path in ("/nowhere", "/api/v1/nowhere", "/results/", "/radiographs/x"):
        assert site.client.get(path).status_code in (401, 303)
        assert site.client.get(path, headers=program).status_code == 404


def test_people_are_sent_to_the_sign_in_page_and_back(site: Site) -> None:
    site.add_user("anna")
    answer = site.client.get("/results?label=spiral")

    assert answer.status_code == 303
    assert answer.headers["Location"] == "/sign-in?next=/results?label%3Dspiral"
    assert 'value="/results?label=spiral"' in site.client.get(answer.headers["Location"]).text
    assert site.client.post("/submissions").headers["Location"] == "/sign-in"  # a form cannot be sent again
    assert site.client.get("/results", headers={"Accept": "application/json"}).status_code == 401


def test_while_there_is_no_user_everybody_on_this_machine_may_do_everything(filled: Site) -> None:
    for endpoint, method, path in addresses(filled.app):
        with filled.client.open(path, method=method) as answer:
            assert answer.status_code not in (401, 403), endpoint
    assert "Sign out" not in filled.client.get("/").text
    assert filled.client.get("/sign-in").headers["Location"] == "/"
    assert filled.sign_in("anna").headers["Location"] == "/"


def test_a_running_server_notices_the_first_user(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    assert site.client.get("/api/v1/queue").status_code == 200
    with site.database.transaction() as session:
        users.add_user(session, "anna", Role.VIEWER, password_hash(), actor="test")
        users.set_disabled(session, "anna", disabled=True, actor="test")  # a disabled one shuts the door too
    monkeypatch.setattr("web.door._LOOK_SECONDS", 0)

    assert site.client.get("/api/v1/queue").status_code == 401


def test_who_looks_again_asks_the_database_about_once_a_second(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def nobody(_session: object) -> bool:
        asked.append(1)
        return False

    monkeypatch.setattr("web.door.any_user", nobody)
    clock = itertools.count(100, 0.25)
    monkeypatch.setattr("web.door.time.monotonic", lambda: next(clock))
    door = Door(site.settings, site.database)

    assert all(door.look() for _ in range(20))
    assert 4 <= len(asked) <= 10


def test_on_another_address_the_door_is_shut_from_the_start(settings: Settings) -> None:
    site = Site(settings.with_changes(host="0.0.0.0", secret_key="chosen"))  # noqa: S104
    try:
        assert site.client.get("/api/v1/queue").status_code == 401
        assert site.client.get("/healthz", headers={"X-Forwarded-For": "10.0.0.7"}).status_code == 200
        assert site.client.get("/api/v1/queue", headers=site.add_token("program")).status_code == 200
    finally:
        site.database.dispose()


def test_what_a_proxy_passes_on_is_refused_while_nobody_signs_in(site: Site) -> None:
    headers = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Proto", "x-forwarded-host", "X-Real-IP")
    for header, address in itertools.product(headers, ("/results", "/api/v1/queue", "/healthz", "/static/app.js")):
        answer = site.client.get(address, headers={header: "10.0.0.7"})
        assert answer.status_code == 403, (header, address)
        assert "user add NAME --role admin" in answer.text
    site.add_user("anna")
    program = site.add_token("program")

    for header in headers:
        assert site.client.get("/api/v1/queue", headers={header: "10.0.0.7", **program}).status_code == 200


def test_behind_a_proxy_on_this_machine_any_name_is_answered_once_people_sign_in(site: Site) -> None:
    site.add_user("anna")
    program = site.add_token("program")

    assert site.client.get("/api/v1/queue", headers={"Host": "radiology.example", **program}).status_code == 200


def test_a_revoked_token_and_a_wrong_one_are_refused_at_once(site: Site) -> None:
    site.add_user("anna")
    program = site.add_token("scanner")
    assert site.client.get("/api/v1/queue", headers=program).status_code == 200
    with site.database.transaction() as session:
        tokens.revoke_token(session, "scanner", actor="test")

    for headers in (
        program,
        {"Authorization": "Bearer fq_" + "a" * 43},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer \xff"},
        {"Authorization": "Basic YW5uYTphbm5h"},
        {"Authorization": program["Authorization"].replace("Bearer", "Token")},
    ):
        answer = site.client.get("/api/v1/queue", headers=headers)
        assert (answer.status_code, answer.json["code"]) == (401, "sign-in-needed")
        assert site.client.get("/results", headers=headers).status_code == 401


def test_a_token_in_an_address_is_no_token(site: Site) -> None:
    site.add_user("anna")
    key = site.add_token("scanner")["Authorization"].removeprefix("Bearer ")

    assert site.client.get(f"/api/v1/queue?token={key}&access_token={key}").status_code == 401


def test_a_program_with_a_token_needs_no_origin_and_is_named_in_the_audit_trail(site: Site) -> None:
    site.add_user("anna")
    program = site.add_token("scanner")
    for number, headers in enumerate(({}, {"Origin": "https://elsewhere.example"}, {"Sec-Fetch-Site": "cross-site"})):
        answer = site.upload(("hand.png", draw_radiograph(number)), headers={**program, **headers})
        assert answer.status_code == 202
    site.fail()
    assert site.client.post("/api/v1/radiographs/1/retry", headers=program).status_code == 202

    with site.database.reading() as session:
        trail = session.execute(select(EventRow.kind, EventRow.actor)).all()
        [token] = tokens.list_tokens(session)
    assert {actor for kind, actor in trail if kind in ("received", "retried")} == {"token:scanner"}
    assert token.last_used_at is not None


def test_the_use_of_a_token_is_not_written_with_every_request(site: Site) -> None:
    site.add_user("anna")
    program = site.add_token("scanner")

    def used() -> Any:
        site.client.get("/api/v1/queue", headers=program)
        with site.database.reading() as session:
            return session.scalars(select(TokenRow.last_used_at)).one()

    first = used()
    assert first is not None
    assert used() == first
    with site.database.transaction() as session:
        session.execute(update(TokenRow).values(last_used_at=first.replace(year=2020)))
    assert used() > first


def test_in_open_mode_a_token_changes_nothing(site: Site) -> None:
    headers = site.add_token("scanner", Role.VIEWER)

    assert site.upload(("hand.png", draw_radiograph(1)), headers=headers).status_code == 202
    answer = site.upload(("hand.png", draw_radiograph(2)), headers={**headers, "Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 403


def buttons(answer: TestResponse) -> set[str]:
    return set(re.findall(r'<form[^>]* action="([^"]*)"', answer.text))


def test_pages_show_no_buttons_that_would_be_refused(filled: Site) -> None:
    for role in Role:
        filled.add_user(role.value, role)
        filled.client.post("/sign-out", headers=OURS)
        assert filled.sign_in(role.value).status_code == 303
        upload, radiograph = filled.client.get("/"), filled.client.get("/radiographs/1")
        writes = role.covers(Role.REVIEWER)
        assert ("/submissions" in buttons(upload)) == writes
        assert ("/radiographs/1/retry" in buttons(radiograph)) == writes
        assert ("may look at everything and upload nothing" in upload.text) != writes
        assert f"{role.value}, {role.value}" in radiograph.text
        assert "/sign-out" in buttons(radiograph)


def test_keys_are_not_logged(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    site.add_user("anna")
    program = site.add_token("scanner")
    site.upload(("a.png", b"bad"), headers=program)
    site.client.get("/results", headers={"Authorization": "Bearer fq_" + "z" * 43})

    assert program["Authorization"].removeprefix("Bearer ") not in caplog.text
    assert "zzzz" not in caplog.text


def test_what_answers_whatever_is_away_answers_without_signing_in(site: Site) -> None:
    site.add_user("anna")
    site.database.dispose()
    (site.settings.home / "fracture.db").write_bytes(b"no database")

    assert site.client.get("/healthz").status_code == 200
    with site.client.get("/static/style.css") as answer:
        assert answer.status_code == 200
    assert site.client.get("/readyz").status_code == 503
    answer = site.client.get("/api/v1/queue", headers={"Authorization": "Bearer fq_" + "z" * 43})
    assert answer.status_code == 503
    assert site.client.get("/sign-in").status_code == 200


def test_nobody_comes_in_while_nobody_knows_whether_there_is_a_user(site: Site) -> None:
    site.database.dispose()
    for file in site.settings.home.glob("fracture.db*"):
        file.unlink()
    (site.settings.home / "fracture.db").write_bytes(b"no database" * 1000)

    assert site.client.get("/").status_code == 503
    assert site.client.get("/api/v1/queue").status_code == 503
