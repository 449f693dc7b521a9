"""20 DICOM files with planted identifiers come in through the inbox and the page; nothing of them is found again."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
from sqlalchemy import select

from core.export import write_csv, write_json
from core.ingest import Ingest
from core.records.filters import Filters
from core.records.results import list_results
from core.settings import Settings
from core.storage import FolderStore
from core.tables import Base, RadiographRow, Source
from tests.planted import FOLDER, IDENTIFIERS, files_below, found_in, planted_files
from tests.unit.desk import SETTLE, Clock, Desk
from tests.unit.web_fixtures import Site


@pytest.fixture
def site(settings: Settings, database_url: str) -> Iterator[Site]:
    site = Site(settings.with_changes(database_url=database_url, settle_seconds=SETTLE))
    yield site
    site.database.dispose()


def dump(site: Site) -> bytes:
    """Return every cell of every table."""
    lines = []
    with site.database.reading() as session:
        for table in Base.metadata.sorted_tables:
            lines += [repr(tuple(row)) for row in session.execute(select(table))]
    return "\n".join(lines).encode()


def exports(site: Site) -> bytes:
    with site.database.reading() as session:
        results = list_results(session, Filters(), limit=1000)
    as_json, as_csv = io.StringIO(), io.StringIO()
    write_json(results, as_json)
    write_csv(results, as_csv, [])
    pages = [site.client.get(page).data for page in ("/", "/results", "/queue", "/submissions/1", "/radiographs/1")]
    pages += [site.client.get(page).data for page in ("/api/v1/radiographs?limit=500", "/api/v1/radiographs/1")]
    return "\n".join((as_json.getvalue(), as_csv.getvalue())).encode() + b"\n".join(pages)


def test_the_search_finds_what_is_there() -> None:
    assert found_in(*planted_files().values()) == set(IDENTIFIERS)


@pytest.mark.parametrize("door", ["inbox", "page"])
def test_nothing_that_names_a_patient_is_kept(
    site: Site, door: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    files = planted_files()
    said = b""
    if door == "page":
        for to, headers in (("/api/v1/radiographs", {}), ("/submissions", {"Accept": "application/json"})):
            said += site.upload(*files.items(), to=to, headers=headers).data
    else:
        clock = Clock()
        clock.stand_in(monkeypatch)
        desk = Desk(site.settings, site.database, clock)
        for name, data in files.items():
            desk.drop(f"{FOLDER}/{name}", data)
        assert desk.take() == len(files)
    site.classify()
    if door == "inbox":
        desk.inbox.settle()
        # What lies in done/ and failed/ is the user's own, and stays as it came.
        kept = [path.read_bytes() for path in files_below(site.settings.done / FOLDER)]
        assert sorted(kept) == sorted(
            data for name, data in files.items() if (site.settings.done / FOLDER / name).exists()
        )
        reasons = [path.read_bytes() for path in files_below(site.settings.failed) if path.suffix == ".txt"]
        assert len(reasons) == 4
        assert found_in(*reasons) == set()

    with site.database.reading() as session:
        rows = session.scalars(select(RadiographRow)).all()
        assert len(rows) == 16
        assert len({row.patient_key for row in rows}) == 1  # and yet one patient stays together
        assert {row.source for row in rows} == {Source.INBOX if door == "inbox" else Source.API}
    assert site.settings.store_path is not None
    stored = [path.read_bytes() for path in files_below(site.settings.store_path)]
    assert len(stored) == 16
    names = [str(path).encode() for path in files_below(site.settings.store_path)]
    assert found_in(dump(site)) == set()
    assert found_in(exports(site)) == set()
    assert found_in(said) == set()
    assert found_in(*stored, *names) == set()
    assert found_in(caplog.text.encode()) == set()
    assert json.dumps(sorted({row.name for row in rows})).count("dicom-") == 16


def test_a_name_tells_dicom_that_is_too_large_to_be_read(settings: Settings, site: Site) -> None:
    site.settings = site.settings.with_changes(max_file_bytes=500)
    desk = Desk(site.settings, site.database)
    desk.ingest = Ingest(site.settings, site.database, FolderStore.at(site.settings.store_url), lambda _: None)
    desk = Desk(site.settings, site.database)
    for name, data in planted_files().items():
        desk.drop(name, data)
    desk.inbox.waiting.tracker._settle_seconds = 0.0
    desk.look()
    desk.look()
    assert desk.inbox.record() == 20
    assert found_in(dump(site)) == set()
