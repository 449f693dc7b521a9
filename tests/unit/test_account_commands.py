"""`user` and `token` on the command line: passwords never as an argument, keys shown once, errors in a sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select

from cli.main import fracture_queue, main
from core.accounts import hash_token, password_fits
from core.tables import EventRow, TokenRow, UserRow
from tests.unit.web_fixtures import Site

PASSWORD = "correct horse battery"


@pytest.fixture
def here(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setenv("FRACTURE_HOME", str(site.settings.home))
    return site


def run(*arguments: str, given: str | None = None) -> Result:
    return CliRunner().invoke(fracture_queue, arguments, input=given, catch_exceptions=False)


def stored_hash(site: Site) -> str:
    with site.database.reading() as session:
        return session.scalars(select(UserRow.password_hash)).one()


def test_a_password_comes_from_standard_input_or_from_a_file(here: Site, tmp_path: Path) -> None:
    said = run("user", "add", "Anna", "--role", "admin", "--password-stdin", given=f"{PASSWORD}\nmore\n").output
    assert said == "anna may sign in as admin.\n"
    assert password_fits(stored_hash(here), PASSWORD)

    (tmp_path / "secret").write_text("another long password\n")
    run("user", "password", "anna", "--password-file", str(tmp_path / "secret"))
    assert password_fits(stored_hash(here), "another long password")


def test_a_password_is_asked_for_twice_on_a_terminal_and_not_shown(here: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.commands.user._is_terminal", lambda: True)
    answered = run("user", "add", "anna", "--role", "admin", given=f"{PASSWORD}\nwrong\n{PASSWORD}\n{PASSWORD}\n")

    assert password_fits(stored_hash(here), PASSWORD)
    assert PASSWORD not in answered.output
    assert "do not match" in answered.output


MISTAKES = [
    (["user", "add", "anna", "--role", "admin"], "Here is no terminal to ask on"),
    (["user", "add", "anna", "--role", "chief", "--password-stdin"], "'chief' is not one of"),
    (["user", "add", "anna", "--password-stdin"], "Missing option '--role'"),
    (["user", "add", "an na", "--role", "admin", "--password-stdin"], "A name has 1 to 64 letters"),
    (["user", "add", "anna", "--role", "admin", "--password-file", "/absent"], "/absent cannot be read: No such"),
    (["user", "add", "anna", "--role", "admin", "--password-file", "/absent", "--password-stdin"], "not both"),
    (["user", "disable", "anna"], "There is no user anna"),
    (["token", "add", "a/b", "--role", "viewer"], "A name has 1 to 64 letters"),
    (["token", "revoke", "scanner"], "There is no token scanner"),
]


def test_a_mistake_is_one_sentence_and_exit_code_2(
    here: Site, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin.readline", lambda: PASSWORD + "\n", raising=False)
    monkeypatch.setattr("cli.commands.user._is_terminal", lambda: False)
    for arguments, words in MISTAKES:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        said = capsys.readouterr().err.replace("\n", " ")
        assert ended.value.code == 2, said
        assert words in said
        assert "Traceback" not in said


def test_a_password_that_is_too_short_is_refused_without_repeating_it(here: Site) -> None:
    answer = CliRunner().invoke(
        fracture_queue, ["user", "add", "anna", "--role", "admin", "--password-stdin"], input="hunter2\n"
    )
    assert "has 12 to 1024 characters; this one has 7" in str(answer.exception)
    assert "hunter2" not in answer.output + str(answer.exception)


def test_a_user_goes_through_all_that_may_happen(here: Site) -> None:
    run("user", "add", "anna", "--role", "admin", "--password-stdin", given=PASSWORD)
    run("user", "add", "vera", "--role", "viewer", "--password-stdin", given=PASSWORD)
    assert run("user", "role", "vera", "reviewer").output == "vera has the role reviewer.\n"
    assert run("user", "disable", "vera").output == "vera cannot sign in.\n"
    assert "There is no admin left" in run("user", "disable", "anna").output
    assert run("user", "enable", "anna").output == "anna may sign in again as admin.\n"
    assert "signed out everywhere" in run("user", "sign-out", "anna").output

    listed = json.loads(run("user", "list", "--json").stdout)

    assert [(each["name"], each["role"], bool(each["disabled_at"])) for each in listed] == [
        ("anna", "admin", False),
        ("vera", "reviewer", True),
    ]
    assert "password" not in str(listed)
    assert "anna" in run("user", "list").output


def test_a_key_is_shown_once_and_kept_as_its_sha256(here: Site) -> None:
    made = run("token", "add", "scanner", "--role", "reviewer")
    key = made.stdout.strip()

    assert key.startswith("fq_")
    with here.database.reading() as session:
        assert session.scalars(select(TokenRow.sha256)).one() == hash_token(key)
    listed = json.loads(run("token", "list", "--json").stdout)
    assert [(each["name"], each["role"], each["revoked_at"]) for each in listed] == [("scanner", "reviewer", None)]
    assert key not in str(listed) + run("token", "list").output
    run("token", "revoke", "scanner")
    assert json.loads(run("token", "list", "--json").stdout)[0]["revoked_at"]


def test_the_audit_trail_names_who_typed_and_holds_no_secret(here: Site) -> None:
    run("user", "add", "anna", "--role", "admin", "--password-stdin", given=PASSWORD)
    key = run("token", "add", "scanner", "--role", "reviewer").stdout.strip()
    with here.database.reading() as session:
        trail = [(row.kind, row.actor, str(row.detail)) for row in session.scalars(select(EventRow))]
    assert {actor.partition(":")[0] for _, actor, _ in trail} == {"command"}
    assert not any(PASSWORD in detail or key in detail or "argon2" in detail for *_, detail in trail)


def test_somebody_without_a_name_on_this_machine_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    from cli.environment import actor_here

    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 1234")

    monkeypatch.setattr("getpass.getuser", nobody)
    assert actor_here().removeprefix("command:").isdigit()
