import sqlite3
import threading
import time
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import func, insert, select, text
from sqlalchemy.exc import StatementError

from core.database import LONGEST_LOG_PAGES, Database, insert_ignoring, now, parse_url, sqlite_file
from core.errors import ConfigurationError, DatabaseUnavailable
from core.schema import migrate
from core.settings import Settings
from core.tables import ModelVersionRow, SubmissionRow
from tests.conftest import add_model


def submission(at: datetime) -> dict[str, object]:
    return {"name": "", "source": "web", "priority": 0, "tags": [], "created_at": at}


def count(database: Database) -> int:
    with database.reading() as session:
        return session.scalar(select(func.count()).select_from(SubmissionRow)) or 0


def test_what_fails_leaves_nothing_behind(database: Database) -> None:
    with pytest.raises(RuntimeError), database.transaction() as session:
        session.execute(insert(SubmissionRow), [submission(now(session))])
        raise RuntimeError
    assert count(database) == 0


def test_a_time_comes_back_aware_and_the_same(database: Database) -> None:
    at = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    with database.transaction() as session:
        session.execute(insert(SubmissionRow), [submission(at)])
    with database.reading() as session:
        found = session.scalars(select(SubmissionRow.created_at)).one()
    assert found == at
    assert found.utcoffset() == timedelta(0)


def test_a_time_without_a_zone_is_refused(database: Database) -> None:
    naive = datetime(2026, 3, 1)  # noqa: DTZ001
    with pytest.raises(StatementError, match="a time without a time zone"), database.transaction() as session:
        session.execute(insert(SubmissionRow), [submission(naive)])


def test_the_clock_goes_on_within_a_transaction(database: Database) -> None:
    with database.transaction() as session:
        first = now(session)
        threading.Event().wait(0.01)
        assert now(session) > first
    assert abs(first - datetime.now(UTC)) < timedelta(minutes=1)


def test_rows_that_are_there_already_are_left_as_they_are(database: Database) -> None:
    number = add_model(database, "one")
    with database.transaction() as session:
        row = session.get_one(ModelVersionRow, number)
        same = {column.name: getattr(row, column.name) for column in ModelVersionRow.__table__.columns}
        del same["id"]
        insert_ignoring(session, ModelVersionRow, [{**same, "name": "another"}])
        insert_ignoring(session, ModelVersionRow, [])
        session.expire_all()
        assert session.get_one(ModelVersionRow, number).name == "one"


def test_readers_never_wait_for_a_writer(database: Database) -> None:
    began = time.monotonic()
    with database.transaction() as session:
        session.execute(insert(SubmissionRow), [submission(now(session))])
        assert count(database) == 0
    assert count(database) == 1
    assert time.monotonic() - began < 20


def test_writers_wait_for_each_other_and_none_is_locked_out(database: Database) -> None:
    failures: list[Exception] = []

    def write() -> None:
        try:
            for _ in range(15):
                with database.transaction() as session:
                    session.execute(insert(SubmissionRow), [submission(now(session))])
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert failures == []
    assert count(database) == 60


def test_a_locked_database_is_a_passing_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.database.SQLITE_BUSY_SECONDS", 0.05)
    database = Database(f"sqlite:///{tmp_path / 'test.db'}")
    migrate(database)
    other = sqlite3.connect(tmp_path / "test.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    locked = pytest.raises(DatabaseUnavailable, match="does not answer: database is locked")
    with locked, database.transaction() as session:
        session.execute(text("SELECT 1"))
    other.execute("ROLLBACK")
    other.close()
    with database.transaction() as session:
        session.execute(insert(SubmissionRow), [submission(now(session))])
    database.dispose()


@pytest.mark.parametrize("url", ["sqlite:////nowhere/at/all.db", "postgresql://nobody@127.0.0.1:9/none"])
def test_a_database_that_is_away_is_a_passing_failure_in_one_sentence(url: str) -> None:
    database = Database(url)
    for use in (database.transaction, database.reading):
        with pytest.raises(DatabaseUnavailable, match=r"^The database does not answer: [^\n]*\.$"), use() as session:
            session.execute(text("SELECT 1"))
    database.dispose()


def test_a_database_that_goes_away_and_returns_is_reached_again(database: Database) -> None:
    count(database)
    if not database.is_sqlite:
        with database.engine.connect() as connection, pytest.raises(Exception, match="terminat"):
            connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
    assert count(database) == 0


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "is no database address"),
        ("var/fracture.db", "is no database address"),
        ("mysql://u:hush@host/x", "names 'mysql'; only sqlite and postgresql"),
        ("oracle+made_up://host", "names 'oracle'"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused_without_showing_it(url: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        parse_url(url)
    assert "hush" not in str(caught.value)


def test_any_postgresql_address_means_the_installed_driver() -> None:
    for url in ("postgresql://u@h/x", "postgresql+psycopg://u@h/x", "postgresql+psycopg2://u@h/x"):
        assert parse_url(url).drivername == "postgresql+psycopg"


def test_sqlite_keeps_its_promises(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'test.db'}")
    with database.transaction() as session:
        found = {
            name: session.execute(text(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
    database.dispose()


def test_only_who_can_do_its_work_again_commits_without_waiting_for_the_disk(database: Database) -> None:
    question = "PRAGMA synchronous" if database.is_sqlite else "SHOW synchronous_commit"
    unsynced = Database(database.url.render_as_string(hide_password=False), synced=False)
    found = []
    for each in (database, unsynced):
        with each.transaction() as session:
            found.append(session.execute(text(question)).scalar())
    unsynced.dispose()
    assert found == ([2, 1] if database.is_sqlite else ["on", "off"])


def test_the_write_ahead_log_is_tidied_up_by_those_who_wait_for_the_disk_anyway(tmp_path: Path) -> None:
    def write(database: Database, megabytes: int) -> None:
        for _ in range(megabytes):
            with database.transaction() as session:
                session.execute(text("CREATE TABLE IF NOT EXISTS much (data BLOB)"))
                session.execute(text("INSERT INTO much VALUES (zeroblob(1000000))"))

    # given a worker, whose commits do not wait, that wrote more than the usual 1,000 pages
    file = tmp_path / "test.db"
    worker, door = Database(f"sqlite:///{file}", synced=False), Database(f"sqlite:///{file}")
    write(worker, 8)
    assert file.stat().st_size < 1_000_000  # all of it is in the log
    # when a door commits, then the log is written into the database
    write(door, 1)
    assert file.stat().st_size > 8_000_000
    # and a worker alone does it too, later
    write(worker, LONGEST_LOG_PAGES * 4096 // 1_000_000 + 2)
    assert file.stat().st_size > 30_000_000
    worker.dispose()
    door.dispose()


@pytest.mark.parametrize("name", ["a b%20c", "what?x=1", "nr #7", "ü:ber@l", "100%"])
def test_a_home_may_be_called_what_has_a_meaning_in_addresses(tmp_path: Path, name: str) -> None:
    home = tmp_path / name
    home.mkdir()
    database = Database(Settings(home=home).database_url)
    migrate(database)
    database.dispose()
    assert sqlite_file(database.url) == home / "fracture.db"
    assert [path.name for path in tmp_path.iterdir()] == [name]
