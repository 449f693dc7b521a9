"""Users and tokens as records: what is kept of them, what voids what, and what the audit trail says."""

from __future__ import annotations

from datetime import timedelta

import pytest
from argon2 import PasswordHasher
from sqlalchemy import select, update

from core import accounts
from core.accounts import account_name, hash_password, hash_token, is_outdated, new_token, password_fits
from core.database import Database
from core.errors import AccountRefused, NotFound
from core.records import tokens, users
from core.tables import EventRow, Role, TokenRow, UserRow

PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def hashed() -> str:
    return hash_password(PASSWORD)


def add(database: Database, name: str = "anna", role: Role = Role.ADMIN, password_hash: str = "hash") -> users.User:  # noqa: S107
    with database.transaction() as session:
        return users.add_user(session, name, role, password_hash, actor="test")


def events(database: Database) -> list[tuple[str, dict[str, str]]]:
    with database.reading() as session:
        return [(row.kind, row.detail) for row in session.scalars(select(EventRow).order_by(EventRow.id))]


def test_a_password_is_kept_as_argon2id_and_known_again(hashed: str) -> None:
    assert hashed.startswith("$argon2id$")
    assert PASSWORD not in hashed
    assert password_fits(hashed, PASSWORD)
    assert not password_fits(hashed, PASSWORD + "!")
    assert not password_fits("no hash", PASSWORD)
    assert not is_outdated(hashed)


def test_nobodys_password_is_compared_with_the_same_parameters(hashed: str) -> None:
    assert not password_fits(None, PASSWORD)
    assert accounts._nobodys().split("$")[:4] == hashed.split("$")[:4]
    assert not is_outdated(accounts._nobodys())


def test_a_hash_with_older_parameters_is_noticed() -> None:
    assert is_outdated(PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash(PASSWORD))


@pytest.mark.parametrize("password", ["", "elevenchars", "x" * 1025])
def test_a_password_of_a_length_that_is_not_allowed_is_refused_without_repeating_it(password: str) -> None:
    with pytest.raises(AccountRefused, match="has 12 to 1024 characters") as caught:
        hash_password(password)
    assert not password or password not in str(caught.value)


def test_a_password_means_the_same_on_every_keyboard() -> None:
    assert password_fits(hash_password("caf\u00e9 au lait, s'il"), "cafe\u0301 au lait, s'il")


def test_names_are_written_one_way() -> None:
    assert account_name(" Anna.Müller@Ward-3 ") == "anna.müller@ward-3"
    for bad in ("", " ", "a b", "<b>", "a\x00", "a/b", "x" * 65, "-a"):
        with pytest.raises(AccountRefused):
            account_name(bad)


def test_roles_have_an_order() -> None:
    assert [Role.REVIEWER.covers(least) for least in Role] == [True, True, False]
    assert [Role.ADMIN.covers(least) for least in Role] == [True, True, True]
    assert [Role.VIEWER.covers(least) for least in Role] == [True, False, False]


def test_a_name_is_given_once(database: Database) -> None:
    add(database, "anna")
    with pytest.raises(AccountRefused, match="There is a user anna already"):
        add(database, "ANNA")
    with database.transaction() as session:
        tokens.add_token(session, "scanner", Role.REVIEWER, actor="test")
        tokens.revoke_token(session, "scanner", actor="test")
    with pytest.raises(AccountRefused, match="is or was a token scanner"), database.transaction() as session:
        tokens.add_token(session, "scanner", Role.VIEWER, actor="test")
    assert [kind for kind, _ in events(database)] == ["user-added", "token-added", "token-revoked"]


def test_whether_somebody_and_whether_an_admin_is_there(database: Database) -> None:
    def there() -> tuple[bool, bool]:
        with database.reading() as session:
            return users.any_user(session), users.any_admin(session)

    assert there() == (False, False)
    add(database, "vera", Role.VIEWER)
    assert there() == (True, False)
    add(database, "anna")
    assert there() == (True, True)
    with database.transaction() as session:
        users.set_disabled(session, "anna", disabled=True, actor="test")
    assert there() == (True, False)


@pytest.mark.parametrize("change", ["password", "sign-out", "disable", "disable and enable"])
def test_what_voids_sessions(database: Database, change: str) -> None:
    user = add(database)
    with database.reading() as session:
        began = users.prepare_sign_in(session, "Anna").at
        assert users.user_in_session(session, user.id, began) == user

    with database.transaction() as session:
        if change == "password":
            users.set_password(session, "anna", "another hash", actor="test")
        elif change == "sign-out":
            users.sign_out_everywhere(session, "anna", actor="test")
        else:
            users.set_disabled(session, "anna", disabled=True, actor="test")
            if change.endswith("enable"):
                users.set_disabled(session, "anna", disabled=False, actor="test")

    with database.reading() as session:
        assert users.user_in_session(session, user.id, began) is None
        found = users.prepare_sign_in(session, "anna")
        assert (found.user is None) == (change == "disable")
        if found.user:
            assert users.user_in_session(session, user.id, found.at) == found.user


def test_a_role_changes_without_ending_sessions(database: Database) -> None:
    user = add(database)
    with database.transaction() as session:
        began = users.prepare_sign_in(session, "anna").at
        users.set_role(session, "anna", Role.VIEWER, actor="test")
    with database.reading() as session:
        found = users.user_in_session(session, user.id, began)
    assert found is not None
    assert found.role == Role.VIEWER


def test_nobody_is_found_under_a_name_that_is_none(database: Database) -> None:
    with database.reading() as session:
        for name in ("", "nobody", "'; DROP TABLE users; --", "\x00", "x" * 100_000):
            assert users.prepare_sign_in(session, name).user is None
        assert users.user_in_session(session, 99, users.prepare_sign_in(session, "").at) is None


def test_a_newer_hash_does_not_undo_a_change_of_password(database: Database) -> None:
    user = add(database, password_hash="old")
    with database.transaction() as session:
        users.set_password(session, "anna", "changed", actor="test")
        users.refresh_hash(session, user, "old", "old anew")
    with database.reading() as session:
        assert session.scalars(select(UserRow.password_hash)).one() == "changed"


def test_changes_of_who_is_not_there_are_refused(database: Database) -> None:
    with database.transaction() as session:
        with pytest.raises(NotFound, match="There is no user anna"):
            users.set_role(session, "Anna", Role.ADMIN, actor="test")
        with pytest.raises(NotFound, match="There is no token scanner"):
            tokens.revoke_token(session, "scanner", actor="test")


def test_a_token_is_found_by_its_key_alone_and_kept_as_its_sha256(database: Database) -> None:
    with database.transaction() as session:
        key = tokens.add_token(session, "scanner", Role.REVIEWER, actor="test")
    with database.reading() as session:
        found = tokens.token_of(session, key)
        assert found is not None
        assert (found.name, found.role, found.last_used_at) == ("scanner", Role.REVIEWER, None)
        assert session.scalars(select(TokenRow.sha256)).one() == hash_token(key)
        for wrong in (key[:-1], key + "a", "fq_" + "a" * 43, "", "é" * 46, hash_token(key) or ""):
            assert tokens.token_of(session, wrong) is None
    with database.transaction() as session:
        tokens.revoke_token(session, "scanner", actor="test")
    with database.reading() as session:
        assert tokens.token_of(session, key) is None


def test_the_use_of_a_token_is_noted_once_a_minute(database: Database) -> None:
    with database.transaction() as session:
        key = tokens.add_token(session, "scanner", Role.REVIEWER, actor="test")
        token = tokens.token_of(session, key)
        assert token is not None
        assert tokens.use_is_due(session, token)
        tokens.note_use(session, token)
    with database.transaction() as session:
        [first] = tokens.list_tokens(session)
        assert first.last_used_at is not None
        assert not tokens.use_is_due(session, first)
        tokens.note_use(session, first)  # another thread that had not seen it
        assert tokens.list_tokens(session) == [first]
        earlier = first.last_used_at - timedelta(seconds=61)
        session.execute(update(TokenRow).values(last_used_at=earlier))
        session.expire_all()
        [later] = tokens.list_tokens(session)
        assert tokens.use_is_due(session, later)
        tokens.note_use(session, later)
        session.expire_all()
        [now] = tokens.list_tokens(session)
        assert now.last_used_at is not None
        assert now.last_used_at > earlier


def test_every_change_is_in_the_audit_trail_without_secrets(database: Database, hashed: str) -> None:
    add(database, password_hash=hashed)
    with database.transaction() as session:
        users.set_role(session, "anna", Role.REVIEWER, actor="test")
        users.set_password(session, "anna", hashed[::-1], actor="test")
        users.set_disabled(session, "anna", disabled=True, actor="test")
        users.set_disabled(session, "anna", disabled=True, actor="test")  # nothing changes
        users.set_disabled(session, "anna", disabled=False, actor="test")
        users.sign_out_everywhere(session, "anna", actor="test")
        users.record_sign_in(session, users.list_users(session)[0])
        key = tokens.add_token(session, "scanner", Role.VIEWER, actor="test")
        tokens.revoke_token(session, "scanner", actor="test")

    trail = events(database)

    assert [kind for kind, _ in trail] == [
        "user-added",
        "user-role",
        "user-password",
        "user-disabled",
        "user-enabled",
        "user-signed-out",
        "signed-in",
        "token-added",
        "token-revoked",
    ]
    assert trail[1][1] == {"user": "anna", "role": "reviewer", "was": "admin"}
    for secret in (hashed, hashed[::-1], key, hash_token(key) or ""):
        assert secret not in str(trail)


def test_a_key_is_recognised_and_never_twice_the_same() -> None:
    keys = {new_token() for _ in range(100)}
    assert len(keys) == 100
    assert all(key.startswith("fq_") and hash_token(key) for key in keys)
