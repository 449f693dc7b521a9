"""Backups made under load, restored onto either kind of database; and what is refused."""

from __future__ import annotations

import stat
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import insert, select, update

from cli.main import fracture_queue
from core.backup.make import make_backup
from core.backup.manifest import Manifest
from core.backup.restore import restore_backup
from core.backup.snapshot import take_snapshot
from core.database import Database, now
from core.errors import BackupRefused, ConfigurationError, StoreUnavailable
from core.home import only_one, prepare_home
from core.ingest import Incoming
from core.records.counters import count_differences, job_counts
from core.records.filters import Filters
from core.records.intake import Submission
from core.records.results import list_results
from core.records.reviews import reviews_of
from core.records.settling import ended_arrivals
from core.records.users import add_user
from core.records.workers import Identity, beat
from core.schema import expected_revision, migrate
from core.settings import Settings
from core.storage import FolderStore
from core.tables import Base, JobRow, JobStatus, ModelVersionRow, Role, Source
from tests.conftest import draw_radiograph, postgresql_database
from tests.fakes import claim, claimed, let_days_pass, with_next_revision, write_bundle
from tests.unit.desk import Clock, Desk
from worker.doctor.ailments import Premises
from worker.doctor.examination import examine


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", models=tmp_path / "models")


@pytest.fixture
def desk(settings: Settings, database: Database, model_id: int, monkeypatch: pytest.MonkeyPatch) -> Desk:
    clock = Clock()
    clock.stand_in(monkeypatch)
    write_bundle(settings.models)
    desk = Desk(settings, database, clock)
    (settings.home / "secret_key").write_text("hush")
    (settings.home / "secret_key").chmod(0o600)
    return desk


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "backup"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.long)])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Settings, Database]]:
    """An installation that has nothing yet."""
    home = tmp_path / "restored"
    if request.param == "sqlite":
        settings = Settings(home=home, models=home / "models")
        database = Database(settings.database_url)
        yield settings, database
        database.dispose()
        return
    with postgresql_database(request.getfixturevalue("postgres_url")) as url:
        database = Database(url)
        yield Settings(home=home, models=home / "models", database_url=url), database
        database.dispose()


def silent(_: str) -> None:
    """Nobody listens."""


def back_up(desk: Desk, folder: Path) -> Manifest:
    return make_backup(desk.settings, desk.database, folder, silent)


def come_in(desk: Desk, *seeds: int) -> None:
    files = [(f"{seed}.png", draw_radiograph(seed, width=24, height=24)) for seed in seeds]
    desk.ingest.take(Submission(source=Source.COMMAND), [Incoming(name, data, len(data)) for name, data in files])


def all_rows(database: Database) -> dict[str, list[dict[str, Any]]]:
    rows = {}
    with database.reading() as session:
        for table in Base.metadata.sorted_tables:
            query = select(table).order_by(*table.primary_key.columns)
            rows[table.name] = [dict(row) for row in session.execute(query).mappings()]
    return rows


def wrong(settings: Settings, database: Database) -> list[str]:
    premises = Premises(settings, database, FolderStore.at(settings.store_url), "doctor:test", deep=True)
    return [verdict.check for verdict in examine(premises, fix=False) if not verdict.well]


def newest(database: Database) -> list[dict[str, Any]]:
    with database.reading() as session:
        return [result.document() for result in list_results(session, Filters(), limit=1000)]


def test_a_backup_made_under_load_is_restored_whole_on_either_database(
    desk: Desk, folder: Path, target: tuple[Settings, Database], model_id: int
) -> None:
    # given: all stages, and somebody who takes in and classifies without pause
    come_in(desk, *range(10))
    desk.classify()
    come_in(desk, 100, 101)
    desk.classify(failure=("unreadable", "Cut off."))
    with desk.database.transaction() as session:
        add_user(session, "anna", Role.ADMIN, "hash", actor="test")
    stop, troubles = threading.Event(), []

    def work() -> None:
        seed = 1000
        try:
            while not stop.is_set():
                come_in(desk, seed, seed + 1)
                claim(desk.database, model_id, limit=1)  # stays in hand
                desk.classify()
                seed += 2
        except Exception as error:
            troubles.append(error)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        manifest = back_up(desk, folder)
    finally:
        stop.set()
        worker.join(timeout=120)
    assert troubles == []
    assert manifest.missing_originals == 0
    # when
    settings, database = target
    restored = restore_backup(settings, database, folder, "test", silent)
    # then: each row is there as it was at the moment of the snapshot
    assert (restored.missing, restored.notes) == (0, ())
    before, after = all_rows(desk.database), all_rows(database)
    assert len(after["radiographs"]) == manifest.rows["radiographs"] >= 12
    for table in ("submissions", "arrivals", "radiographs", "predictions", "scores", "users", "model_versions"):
        known = {str(row): row for row in before[table]}
        assert after[table] == [known[str(row)] for row in after[table]], table
        assert len(after[table]) == manifest.rows[table]
    assert after["events"][-1]["kind"] == "restored"
    assert len(after["events"]) == manifest.rows["events"] + 1
    # and what was in hand waits, the rest is where it was
    with database.reading() as session:
        counts = job_counts(session)
        assert count_differences(session) == {}
        unclaimed = session.scalars(select(JobRow).where(JobRow.status == JobStatus.WAITING)).all()
        assert all(job.lease_token is None and job.attempts == 0 and job.rung_at is None for job in unclaimed)
        assert reviews_of(session, 1) == []
        assert [result.name for result in list_results(session, Filters(name="101.PNG"), limit=5)] == ["101.png"]
    assert counts[JobStatus.RUNNING] == 0
    assert sum(counts.values()) == manifest.rows["jobs"]
    assert counts[JobStatus.FAILED] == 2
    assert wrong(settings, database) == []
    # and work goes on: new numbers follow the old ones, and nothing is classified twice
    again = Desk(settings, database)
    come_in(again, 5000)
    again.classify()
    with database.reading() as session:
        done = len(session.scalars(select(JobRow.id).where(JobRow.status == JobStatus.DONE)).all())
    assert done == manifest.rows["jobs"] + 1 - 2
    assert (settings.home / "secret_key").read_text() == "hush"
    assert stat.S_IMODE((settings.home / "secret_key").stat().st_mode) == 0o600
    assert (settings.models / "fracture-types" / "1.0.0" / "card.json").exists()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_every_query_answers_as_before(desk: Desk, folder: Path, target: tuple[Settings, Database]) -> None:
    come_in(desk, *range(6))
    desk.classify()
    back_up(desk, folder)
    settings, database = target
    restore_backup(settings, database, folder, "test", silent)
    assert newest(database) == newest(desk.database)
    with desk.database.reading() as before, database.reading() as after:
        assert job_counts(after) == job_counts(before)


def test_the_folder_is_private_and_a_second_backup_copies_only_what_is_new(desk: Desk, folder: Path) -> None:
    come_in(desk, 1, 2)
    first = back_up(desk, folder)
    stored = {path: path.stat().st_mtime_ns for path in (folder / "store").glob("??/*")}
    come_in(desk, 3)
    second = back_up(desk, folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / second.snapshot).stat().st_mode) == 0o600
    assert (first.originals, second.originals) == (2, 3)
    assert {path: path.stat().st_mtime_ns for path in stored} == stored
    assert [path.name for path in folder.glob("snapshot-*")] == [second.snapshot]
    assert Manifest.read(folder) == second


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_an_interrupted_backup_leaves_the_one_before(desk: Desk, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    come_in(desk, 1)
    with monkeypatch.context() as broken:
        broken.setattr("core.backup.make.copy_keys", fail)
        with pytest.raises(StoreUnavailable, match="The backup cannot be written to"):
            back_up(desk, folder)
    refused = pytest.raises(BackupRefused, match="There is no whole backup in")
    with refused:
        Manifest.read(folder)
    first = back_up(desk, folder)
    come_in(desk, 2)
    with monkeypatch.context() as broken:
        broken.setattr("core.backup.make.copy_keys", fail)
        with pytest.raises(StoreUnavailable):
            back_up(desk, folder)
    assert Manifest.read(folder) == first
    assert (folder / first.snapshot).exists()
    third = back_up(desk, folder)
    assert [path.name for path in folder.glob("snapshot-*")] == [third.snapshot]


def fail(*_: Any) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_what_retention_deleted_goes_from_the_backup_and_is_not_missed(desk: Desk, folder: Path) -> None:
    from core.retention import delete_expired

    come_in(desk, 1, 2)
    desk.classify()
    back_up(desk, folder)
    let_days_pass(desk.settings, desk.database, 100)
    list(delete_expired(desk.database, FolderStore.at(desk.settings.store_url), 90, "test"))
    made = back_up(desk, folder)
    assert (made.originals, made.missing_originals) == (0, 0)
    assert list((folder / "store").glob("??/*")) == []


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_an_original_deleted_while_the_backup_is_made_is_not_missed(
    desk: Desk, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from core.backup import make
    from core.retention import delete_expired

    come_in(desk, 1)
    desk.classify()
    let_days_pass(desk.settings, desk.database, 100)

    def take_and_delete(database: Database, file: Path) -> None:
        take_snapshot(database, file)
        list(delete_expired(desk.database, FolderStore.at(desk.settings.store_url), 90, "test"))

    monkeypatch.setattr(make, "take_snapshot", take_and_delete)
    assert back_up(desk, folder).missing_originals == 0
    settings = Settings(home=tmp_path / "restored", models=tmp_path / "restored" / "models")
    database = Database(settings.database_url)
    assert restore_backup(settings, database, folder, "test", silent).missing == 0
    assert wrong(settings, database) == []
    database.dispose()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_lost_or_altered_original_is_counted_and_the_rest_is_saved(desk: Desk, folder: Path) -> None:
    come_in(desk, 1, 2, 3)
    store = FolderStore.at(desk.settings.store_url)
    lost, altered, _ = (store.path(f"{digest[:2]}/{digest}") for digest in sorted(store.kept()))
    lost.unlink()
    altered.write_bytes(b"x" * altered.stat().st_size)
    made = back_up(desk, folder)
    assert (made.originals, made.missing_originals) == (1, 2)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_files_that_lay_in_processing_do_not_hang_for_ever(desk: Desk, folder: Path, tmp_path: Path) -> None:
    desk.drop("scan.png", draw_radiograph(1))
    desk.take()
    back_up(desk, folder)
    settings = Settings(home=tmp_path / "restored", models=tmp_path / "restored" / "models")
    database = Database(settings.database_url)
    restore_backup(settings, database, folder, "test", silent)
    again = Desk(settings, database, desk.clock)
    again.classify()
    with database.reading() as session:
        assert len(ended_arrivals(session, limit=10)) == 1
    assert again.inbox.settle() == 1
    with database.reading() as session:
        assert ended_arrivals(session, limit=10) == []
    database.dispose()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
class TestRefusals:
    def backup(self, desk: Desk, folder: Path) -> Manifest:
        come_in(desk, 1)
        return back_up(desk, folder)

    def test_a_folder_with_something_else(self, desk: Desk, folder: Path) -> None:
        folder.mkdir()
        (folder / "thesis.txt").touch()
        with pytest.raises(BackupRefused, match="holds something else than backups"):
            back_up(desk, folder)
        with pytest.raises(BackupRefused, match="lies in the inbox or in the store"):
            back_up(desk, desk.settings.inbox / "backup")

    def test_a_backup_of_a_newer_program(self, desk: Desk, folder: Path, tmp_path: Path) -> None:
        replace(self.backup(desk, folder), revision="9999").write(folder)
        settings = Settings(home=tmp_path / "restored")
        words = f"at revision 9999, this program's at {expected_revision()}: the backup belongs to a newer program"
        with pytest.raises(BackupRefused, match=words):
            restore_backup(settings, Database(settings.database_url), folder, "test", silent)
        assert not settings.home.exists()

    @pytest.mark.parametrize(
        "text", ["{", "[]", "{}", '{"format": 2}', '{"format": 1}'], ids=["cut", "list", "empty", "newer", "bare"]
    )
    def test_a_manifest_that_cannot_be_read(self, desk: Desk, folder: Path, text: str) -> None:
        folder.mkdir()
        (folder / "manifest.json").write_text(text)
        with pytest.raises(BackupRefused):
            Manifest.read(folder)

    def test_a_damaged_snapshot(self, desk: Desk, folder: Path, tmp_path: Path) -> None:
        manifest = self.backup(desk, folder)
        with (folder / manifest.snapshot).open("r+b") as stream:
            stream.seek(5000)
            stream.write(b"damage")
        settings = Settings(home=tmp_path / "restored", models=tmp_path / "restored" / "models")
        database = Database(settings.database_url)
        with pytest.raises(BackupRefused, match="is not what the manifest says"):
            restore_backup(settings, database, folder, "test", silent)
        (folder / manifest.snapshot).unlink()
        with pytest.raises(BackupRefused, match="is missing"):
            restore_backup(settings, database, folder, "test", silent)
        assert not (settings.home / "fracture.db").exists()
        assert list(settings.home.glob(".restoring-*")) == []

    def test_an_installation_that_holds_something_or_runs(self, desk: Desk, folder: Path, tmp_path: Path) -> None:
        self.backup(desk, folder)
        with pytest.raises(BackupRefused, match="already holds radiographs and arrivals"):
            restore_backup(desk.settings, desk.database, folder, "test", silent)
        # one that runs, and has nothing yet
        settings = Settings(home=tmp_path / "restored", models=tmp_path / "restored" / "models")
        prepare_home(settings)
        database = Database(settings.database_url)
        migrate(database)
        with database.transaction() as session:
            beat(session, Identity("worker", "test", 1), engine="fake")
        with pytest.raises(BackupRefused, match="1 process is at work"):
            restore_backup(settings, database, folder, "test", silent)
        with database.transaction() as session:
            long_ago = now(session) - timedelta(hours=1)
            session.execute(update(Base.metadata.tables["workers"]).values(seen_at=long_ago))
        assert restore_backup(settings, database, folder, "test", silent).missing == 0
        assert len(newest(database)) == 1
        database.dispose()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_an_older_backup_is_brought_to_this_revision(
    desk: Desk, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    come_in(desk, 1)
    back_up(desk, folder)
    # given: a program that knows one step more
    with_next_revision(tmp_path, monkeypatch)
    settings = Settings(home=tmp_path / "restored", models=tmp_path / "restored" / "models")
    database = Database(settings.database_url)
    restore_backup(settings, database, folder, "test", silent)
    assert expected_revision() == "next"
    assert len(newest(database)) == 1
    database.dispose()


def test_the_commands_say_what_they_did_and_restore_ends_with_the_doctor(
    settings: Settings, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(settings.database_url)
    migrate(database)
    write_bundle(settings.models)
    with database.transaction() as session:
        row: dict[str, Any] = {"name": "m", "version": "1", "task": "fracture-type", "sha256": "a" * 64, "card": {}}
        row |= {"installed": True, "active": True, "created_at": now(session)}
        session.execute(insert(ModelVersionRow), [row])
    desk = Desk(settings, database)
    come_in(desk, 1, 2)
    claimed(database, 1, limit=1)
    for name, value in (("HOME", settings.home), ("MODELS", settings.models)):
        monkeypatch.setenv(f"FRACTURE_{name}", str(value))
    made = run("backup", str(folder))
    assert made.exit_code == 0, made.output
    assert f"{folder}: 2 radiographs, 2 originals" in made.stdout
    assert "Copying originals" in made.stderr
    for name in ("HOME", "MODELS"):
        monkeypatch.setenv(f"FRACTURE_{name}", str(tmp_path / "restored" / name.lower()))
    done = run("restore", str(folder))
    assert done.exit_code == 0, done.output
    assert "Restored the backup of 20" in done.stdout
    assert "put them into the inbox again" in done.stdout
    assert "ok      originals" in done.stdout
    # and a loss is told, with the exit code of a failed job
    refused = run("restore", str(folder))
    assert isinstance(refused.exception, BackupRefused)
    with only_one(Settings(home=tmp_path / "restored" / "home")):
        assert isinstance(run("restore", str(folder)).exception, ConfigurationError)
    next((folder / "store").glob("??/*")).unlink()
    monkeypatch.setenv("FRACTURE_HOME", str(tmp_path / "third"))
    lossy = run("restore", str(folder))
    assert lossy.exit_code == 1
    assert "wrong   originals: 1 radiograph without the original" in lossy.stdout
    database.dispose()


def run(*arguments: str) -> Any:
    return CliRunner().invoke(fracture_queue, arguments)
