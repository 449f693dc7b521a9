import errno
from pathlib import Path

import pytest
from sqlalchemy import text

from core.database import Database
from core.errors import ConfigurationError, Unavailable
from core.home import prepare_home, prepare_runtime
from core.schema import migrate
from core.settings import Settings
from tests.fakes import raising


def test_all_folders_are_made_and_nothing_is_left_in_them(settings: Settings) -> None:
    for _ in range(2):
        prepare_home(settings)
    found = {path.relative_to(settings.home).as_posix() for path in settings.home.rglob("*")}
    assert found == {"inbox", "processing", "done", "failed", "logs", "store"}


def test_the_inbox_and_its_siblings_can_lie_elsewhere(settings: Settings, tmp_path: Path) -> None:
    prepare_home(settings.with_changes(inbox=tmp_path / "share" / "drop"))
    assert {path.name for path in (tmp_path / "share").iterdir()} == {"drop", "processing", "done", "failed"}


def test_a_folder_that_cannot_be_made_is_named(settings: Settings) -> None:
    settings.home.parent.mkdir(parents=True, exist_ok=True)
    settings.home.write_text("a file in the way")
    with pytest.raises(ConfigurationError, match=f"The folder {settings.home} cannot be made or written: File exists"):
        prepare_home(settings)


def test_what_names_people_is_for_this_user_alone_and_what_is_there_is_left_as_it_is(settings: Settings) -> None:
    prepare_home(settings)
    database = Database(settings.database_url)
    migrate(database)
    with database.transaction() as session:
        session.execute(text("DELETE FROM tallies"))  # so that the log beside it is there
        files = list(settings.home.glob("fracture.db*"))
        assert {path.name for path in files} >= {"fracture.db", "fracture.db-wal", "fracture.db-shm"}
        assert [path for path in files if path.suffix != ".lock" and path.stat().st_mode & 0o077] == []
    database.dispose()
    assert settings.store_path is not None
    for folder in (settings.store_path, settings.processing, settings.logs):
        assert folder.stat().st_mode & 0o777 == 0o700, folder
    settings.store_path.chmod(0o750)
    prepare_home(settings)
    assert settings.store_path.stat().st_mode & 0o777 == 0o750


def test_a_full_disk_is_no_wrong_configuration(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "touch", raising(errno.ENOSPC))
    with pytest.raises(Unavailable, match=f"The folder {settings.home} cannot be made or written: No space left"):
        prepare_home(settings)


def test_the_folder_of_sockets_is_this_users_alone(tmp_path: Path) -> None:
    folder = tmp_path / "runtime"
    for _ in range(2):
        prepare_runtime(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o755)
    with pytest.raises(ConfigurationError, match="is not this user's alone"):
        prepare_runtime(folder)


def test_a_link_or_a_file_in_place_of_the_folder_of_sockets_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "file").touch(mode=0o600)
    for name in ("link", "file"):
        with pytest.raises(ConfigurationError):
            prepare_runtime(tmp_path / name)
