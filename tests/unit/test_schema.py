import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import event, inspect, text
from sqlalchemy.exc import SAWarning

from core.database import Database
from core.errors import ConfigurationError, DatabaseUnavailable, SchemaMismatch
from core.home import open_installation, prepare_home
from core.schema import MIGRATIONS, check_schema, expected_revision, found_revision, migrate
from core.settings import Settings
from core.tables import Base
from tests.conftest import PROJECT, copy_tables
from tests.fakes import claim, take_in, with_next_revision
from web.serve import serve
from worker.main import run_worker
from worker.opening import open_intake


@pytest.fixture
def empty(empty_database_url: str) -> Iterator[Database]:
    database = Database(empty_database_url)
    yield database
    database.dispose()


def tables(database: Database) -> set[str]:
    with database.engine.connect() as connection:
        names = set(inspect(connection).get_table_names()) - {"alembic_version"}
    # SQLite's full-text index is a table, with tables of its own.
    return {name for name in names if not name.startswith("radiograph_names")}


def stamp(database: Database, revision: str) -> None:
    with database.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision})


def sqlite_statements(database: Database) -> dict[str, str]:
    with database.engine.connect() as connection:
        rows = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")).all()
    return {name: re.sub(r"[\s\"]+", " ", sql) for name, sql in rows if name != "alembic_version"}


def test_migrated_tables_are_those_that_the_program_declares(database: Database) -> None:
    with warnings.catch_warnings(), database.engine.connect() as connection:
        # SQLite's reflection leaves indexes of expressions out; the next test looks at those.
        warnings.filterwarnings("ignore", "Skipped unsupported reflection", SAWarning)
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        differences = compare_metadata(context, Base.metadata)
    # How names are searched differs between the databases; tests/unit/test_names.py looks at that.
    own = ["ix_radiographs_names", *(["ix_jobs_waiting"] if database.is_sqlite else [])]
    differences = [
        each
        for each in differences
        if (name := getattr(each[1], "name", "")) not in own and not name.startswith("radiograph_names")
    ]
    assert differences == []


def test_migrated_indexes_of_expressions_are_those_that_the_program_declares(
    database: Database, tmp_path: Path
) -> None:
    if not database.is_sqlite:
        with database.engine.connect() as connection:
            definition = connection.execute(
                text("SELECT indexdef FROM pg_indexes WHERE indexname = 'ix_jobs_waiting'")
            ).scalar_one()
        assert "(priority DESC, id) WHERE" in definition
        return
    declared = Database(f"sqlite:///{tmp_path / 'declared.db'}")
    Base.metadata.create_all(declared.engine)
    expected, found = sqlite_statements(declared), sqlite_statements(database)
    declared.dispose()
    indexes = {name for name in expected if name.startswith("ix_")}
    assert indexes == {name for name in found if name.startswith("ix_")}
    assert {name: found[name] for name in indexes} == {name: expected[name] for name in indexes}
    assert "priority DESC, id) WHERE status = 'waiting'" in found["ix_jobs_waiting"]


def test_a_claim_finds_its_jobs_in_the_index_and_sorts_nothing(database: Database, model_id: int) -> None:
    take_in(database, 1)
    statements: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        statements.append((statement, parameters))

    event.listen(database.engine, "before_cursor_execute", note)
    claim(database, model_id)
    event.remove(database.engine, "before_cursor_execute", note)
    statement, parameters = next(each for each in statements if "UPDATE jobs" in each[0])
    with database.engine.begin() as connection:
        if not database.is_sqlite:  # with so few rows it would rather read the whole table
            connection.execute(text("SET LOCAL enable_seqscan = off"))
            connection.execute(text("SET LOCAL enable_bitmapscan = off"))
        explain = "EXPLAIN QUERY PLAN " if database.is_sqlite else "EXPLAIN "
        plan = str(connection.exec_driver_sql(explain + statement, parameters).all())
    assert plan.count("ix_jobs_waiting") == 2
    assert "TEMP B-TREE" not in plan
    assert "Sort" not in plan


def test_migrating_says_from_where_to_where_and_does_nothing_twice(empty: Database) -> None:
    assert found_revision(empty) is None
    assert migrate(empty) == (None, expected_revision())
    assert migrate(empty) == (expected_revision(), expected_revision())
    check_schema(empty)


def test_the_steps_go_down_and_up_again(database: Database, model_id: int) -> None:
    take_in(database, 1, 2)
    before = tables(database)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with database.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    assert tables(database) == set()
    with pytest.raises(SchemaMismatch, match="no tables yet; run `fracture-queue migrate`"):
        check_schema(database)
    migrate(database)
    assert tables(database) == before == set(Base.metadata.tables)


def test_two_processes_that_migrate_an_empty_database_at_once_both_end_well(empty: Database) -> None:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("FRACTURE_")},
        "FRACTURE_DATABASE_URL": empty.url.render_as_string(hide_password=False),
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "cli.main", "migrate"],
            cwd=PROJECT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(2)
    ]
    said = sorted(process.communicate(timeout=60)[0] for process in processes)
    assert [process.returncode for process in processes] == [0, 0], said
    assert "already" in said[0]
    assert "from no tables to revision" in said[1]
    check_schema(empty)


def test_a_newer_database_is_refused_with_both_revisions(database: Database) -> None:
    stamp(database, "9999")
    for look in (check_schema, migrate):
        with pytest.raises(SchemaMismatch, match=f"revision 9999, this program at {expected_revision()}") as caught:
            look(database)
        assert "it belongs to a newer program" in str(caught.value)


@pytest.mark.parametrize("start", [run_worker, open_intake, serve])
def test_no_role_starts_on_tables_of_another_revision(start: Callable[[Settings], Any], settings: Settings) -> None:
    prepare_home(settings)
    database = Database(copy_tables(settings.home / "fracture.db"))
    stamp(database, "9999")
    database.dispose()
    with pytest.raises(SchemaMismatch, match=f"revision 9999, this program at {expected_revision()}"):
        start(settings)


def test_an_older_database_is_refused_with_both_revisions_and_then_brought_up(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = expected_revision()
    with_next_revision(tmp_path, monkeypatch)
    # when, then
    with pytest.raises(SchemaMismatch, match=f"revision {old}, this program at next: run `fracture-queue migrate`"):
        check_schema(database)
    assert migrate(database) == (old, "next")
    check_schema(database)


def test_a_command_that_only_looks_makes_no_database(settings: Settings) -> None:
    with pytest.raises(ConfigurationError, match="There is no installation in"):
        open_installation(settings)
    assert found_revision(Database(settings.database_url)) is None
    assert not settings.home.exists()


def test_a_folder_that_cannot_be_made_is_said_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    database = Database(f"sqlite:///{tmp_path}/file/test.db")
    with pytest.raises(DatabaseUnavailable, match="cannot be made: "):
        migrate(database)
    database.dispose()
