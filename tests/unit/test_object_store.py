"""The two forms of the store keep one contract; the bucket is a real one, on a real S3-compatible server."""

import hashlib
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import obstore
import pytest
from sqlalchemy import update

from core import object_store
from core.backup.make import make_backup
from core.backup.restore import restore_backup
from core.database import Database
from core.errors import ConfigurationError, OriginalAltered, StoreUnavailable
from core.object_cache import ObjectCache
from core.object_store import ObjectStore
from core.readiness import look_over
from core.records.claims import claim_waiting
from core.retention import delete_expired
from core.settings import Settings
from core.storage import FolderStore
from core.store import Store, open_store
from core.tables import ArrivalRow, RadiographRow
from tests.conftest import draw_radiograph, wait_until
from tests.s3 import BUCKET, PREFIX, S3Server
from tests.unit.web_fixtures import Site
from worker.doctor.ailments import Premises
from worker.doctor.examination import examine

DATA = b"the bytes of a radiograph"
SHA256 = hashlib.sha256(DATA).hexdigest()
KEY = f"{SHA256[:2]}/{SHA256}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    server = S3Server(tmp_path_factory.mktemp("s3"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def s3(server: S3Server) -> S3Server:
    """The server, with an empty bucket."""
    obstore.delete(server.bucket(), server.names())
    return server


@pytest.fixture
def bucket(s3: S3Server, tmp_path: Path) -> ObjectStore:
    return ObjectStore.of(s3.settings(tmp_path / "home"))


@pytest.fixture(params=["folder", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "folder":
        (tmp_path / "store").mkdir()
        return FolderStore(tmp_path / "store")
    found: ObjectStore = request.getfixturevalue("bucket")
    return found


def alter(store: Store, request: pytest.FixtureRequest, data: bytes) -> None:
    """Put something else under the key, past the store."""
    if isinstance(store, FolderStore):
        store.path(KEY).write_bytes(data)
    else:
        obstore.put(request.getfixturevalue("s3").bucket(), KEY, data)


# What both forms promise


def test_what_is_put_is_got_and_known(store: Store) -> None:
    assert (store.size(KEY), store.age_seconds(KEY), list(store.kept())) == (None, None, [])
    assert store.put(DATA, SHA256) == KEY
    assert store.put(DATA, SHA256) == KEY
    assert store.get(KEY) == DATA
    assert store.size(KEY) == len(DATA)
    assert (age := store.age_seconds(KEY)) is not None
    assert -60 < age < 60
    assert list(store.kept()) == [SHA256]
    assert store.verify(KEY)


@pytest.mark.parametrize("key", ["", "../../etc/passwd", SHA256, f"{KEY}\n"])
def test_a_key_that_no_store_gave_is_refused(key: str, store: Store) -> None:
    for use in (store.get, store.verify):
        with pytest.raises(ValueError, match="no storage key"):
            use(key)
    with pytest.raises(ValueError, match="no sha256"):
        store.put(DATA, key.upper())


def test_what_was_altered_is_never_returned_and_can_be_restored(store: Store, request: pytest.FixtureRequest) -> None:
    store.put(DATA, SHA256)
    alter(store, request, b"the bytes of another one!")
    assert store.size(KEY) == len(DATA)
    with pytest.raises(OriginalAltered):
        store.get(KEY)
    assert not store.verify(KEY)
    with pytest.raises(ValueError, match="another sha256"):
        store.restore(b"something else", SHA256)
    store.restore(DATA, SHA256)
    assert store.get(KEY) == DATA


def test_what_came_cut_off_is_replaced_when_it_comes_in_again(store: Store, request: pytest.FixtureRequest) -> None:
    store.put(DATA, SHA256)
    alter(store, request, DATA[:-1])
    store.put(DATA, SHA256)
    assert store.get(KEY) == DATA


def test_a_missing_original_is_a_passing_cause(store: Store) -> None:
    with pytest.raises(StoreUnavailable, match=KEY):
        store.get(KEY)
    assert not store.verify(KEY)


def test_a_probe_leaves_nothing_behind(store: Store) -> None:
    store.probe()
    assert list(store.kept()) == store.unfinished() == []


def test_nothing_that_is_young_or_needed_is_discarded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not store.discard(KEY, lambda: False)  # it is not there
    store.put(DATA, SHA256)
    assert not store.discard(KEY, lambda: False)  # it came in a moment ago
    monkeypatch.setattr("core.storage.SAFE_AGE_SECONDS", -60)
    monkeypatch.setattr("core.object_store.SAFE_AGE_SECONDS", -60)
    assert not store.discard(KEY, lambda: True)
    assert store.get(KEY) == DATA
    assert store.discard(KEY, lambda: False)
    assert list(store.kept()) == []
    assert store.size(KEY) is None
    assert store.unfinished() == []


# What the bucket adds


def test_the_settings_choose_the_form(s3: S3Server, tmp_path: Path) -> None:
    assert isinstance(open_store(Settings(home=tmp_path)), FolderStore)
    assert isinstance(open_store(s3.settings(tmp_path)), ObjectStore)
    with pytest.raises(ConfigurationError):
        open_store(Settings(home=tmp_path, store_url="gopher://x"))


def test_a_large_original_goes_up_in_parts_and_comes_back_whole(s3: S3Server, bucket: ObjectStore) -> None:
    data = os.urandom(object_store.PART_BYTES * 2 + 12345)
    key = bucket.put(data, hashlib.sha256(data).hexdigest())
    assert bucket.get(key) == data
    assert (obstore.head(s3.bucket(), key)["e_tag"] or "").strip('"').endswith("-3")  # three parts
    assert s3.names() == [key]


def test_a_copy_on_this_machine_spares_the_bucket(s3: S3Server, bucket: ObjectStore) -> None:
    bucket.get(bucket.put(DATA, SHA256))
    obstore.delete(s3.bucket(), KEY)
    assert bucket.get(KEY) == DATA
    assert not bucket.verify(KEY)  # which asks the bucket itself


def test_who_stores_what_is_being_deleted_is_told_to_try_again(s3: S3Server, bucket: ObjectStore) -> None:
    obstore.put(s3.bucket(), f"discarding/{SHA256}/somebody", b"")
    for store in (bucket.put, bucket.restore):
        with pytest.raises(StoreUnavailable, match="is being deleted at this moment"):
            store(DATA, SHA256)
    obstore.delete(s3.bucket(), f"discarding/{SHA256}/somebody")
    assert bucket.put(DATA, SHA256) == KEY


def test_what_came_in_while_it_was_to_be_deleted_stays(bucket: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket.put(DATA, SHA256)
    monkeypatch.setattr("core.object_store.SAFE_AGE_SECONDS", -60)
    told: list[str] = []

    def asked_meanwhile() -> bool:
        try:
            bucket.put(DATA, SHA256)
        except StoreUnavailable as error:
            told.append(str(error))
        return False

    assert bucket.discard(KEY, asked_meanwhile)
    # Its sender was told nothing good, and sends again.
    assert len(told) == 1
    assert bucket.put(DATA, SHA256) == KEY
    assert bucket.get(KEY) == DATA


def test_an_announcement_of_somebody_who_died_lapses(
    s3: S3Server, bucket: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    obstore.put(s3.bucket(), f"discarding/{SHA256}/dead", b"")
    monkeypatch.setattr("core.object_store._ANNOUNCED_SECONDS", -60)
    assert bucket.put(DATA, SHA256) == KEY
    assert bucket.unfinished() == []  # it may still live
    monkeypatch.setattr("core.object_store.SAFE_AGE_SECONDS", -60)
    assert bucket.unfinished() == [f"discarding/{SHA256}/dead"]
    bucket.clear_unfinished()
    assert s3.names() == [KEY]


def test_foreign_objects_below_the_prefix_are_left_alone(s3: S3Server, bucket: ObjectStore) -> None:
    bucket.put(DATA, SHA256)
    for name in ("README.txt", f"zz/{SHA256}", f"backup/{KEY}"):
        obstore.put(s3.bucket(), name, b"foreign")
    assert list(bucket.kept()) == [SHA256]


def test_a_bucket_that_does_not_exist_is_no_bucket_that_lost_everything(s3: S3Server, tmp_path: Path) -> None:
    store = ObjectStore.of(s3.settings(tmp_path, store_url="s3://elsewhere"))
    for ask in (store.reach, store.probe, lambda: store.get(KEY), lambda: store.put(DATA, SHA256)):
        with pytest.raises(StoreUnavailable, match="s3://elsewhere has no such bucket"):
            ask()


def test_a_bucket_that_is_away_is_said_so_at_once_the_second_time(
    s3: S3Server, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ObjectStore.of(s3.settings(tmp_path, store_endpoint="http://127.0.0.1:9", store_cache_bytes=0))
    with pytest.raises(StoreUnavailable, match="does not answer"):
        store.get(KEY)
    began = time.monotonic()
    for _ in range(100):
        with pytest.raises(StoreUnavailable, match="does not answer"):
            store.get(KEY)
    assert time.monotonic() - began < object_store._SILENT_SECONDS  # nobody was asked
    assert "of the test" not in caplog.text
    # and once it is back, and the silence is over, it goes on
    monkeypatch.setattr(store, "_away_until", 0.0)
    with pytest.raises(StoreUnavailable, match="does not answer"):
        store.put(DATA, SHA256)


@pytest.mark.long
def test_a_bucket_that_hangs_is_given_up_well_before_a_batch_is(s3: S3Server, tmp_path: Path) -> None:
    settings = s3.settings(tmp_path, store_cache_bytes=0)
    store = ObjectStore.of(settings)
    store.put(DATA, SHA256)
    s3.hang()
    try:
        began = time.monotonic()
        for _ in range(settings.batch_size):
            with pytest.raises(StoreUnavailable, match="does not answer"):
                store.get(KEY)
        assert time.monotonic() - began < settings.batch_limit_seconds / 2
    finally:
        s3.hang(False)

    def answers() -> bool:
        try:
            return store.get(KEY) == DATA
        except StoreUnavailable:  # it is left alone for a while after it was away
            return False

    wait_until(answers, within_seconds=60, what="the store is asked again and answers")


# The parts that use it


@pytest.fixture
def site(s3: S3Server, tmp_path: Path) -> Site:
    return Site(s3.settings(tmp_path / "home"))


def test_an_upload_goes_to_the_bucket_and_its_picture_comes_from_there(site: Site, s3: S3Server) -> None:
    data = draw_radiograph(1)
    digest = hashlib.sha256(data).hexdigest()
    answer = site.upload(("hand.png", data))
    assert answer.status_code == 202
    assert s3.names() == [f"{digest[:2]}/{digest}"]
    assert not (site.settings.home / "store").exists()
    assert site.client.get("/api/v1/radiographs/1/image.png").status_code == 200


def test_an_upload_while_the_bucket_is_away_is_503_and_nothing_is_recorded(s3: S3Server, tmp_path: Path) -> None:
    site = Site(s3.settings(tmp_path / "home", store_endpoint="http://127.0.0.1:9"))
    answer = site.upload(("hand.png", draw_radiograph(1)))
    assert (answer.status_code, answer.json["code"]) == (503, "store-unavailable")
    assert answer.headers["Retry-After"]
    with site.database.transaction() as session:
        assert claim_waiting(session, model_version_ids=[1], limit=1, lease_seconds=9, worker="x") is None
    assert {each.check: each.ok for each in look_over(site.settings, site.database) if each.check == "store"} == {
        "store": False
    }


def test_an_altered_picture_is_not_shown(site: Site, s3: S3Server) -> None:
    site.upload(("hand.png", draw_radiograph(1)))
    obstore.put(s3.bucket(), s3.names()[0], draw_radiograph(2))
    answer = site.client.get("/api/v1/radiographs/1/image.png")
    assert (answer.status_code, answer.json["code"]) == (500, "original-altered")


def verdicts(settings: Settings, database: Database, *, fix: bool = False) -> dict[str, int]:
    """What the doctor finds in and about the store."""
    premises = Premises(settings, database, open_store(settings), "doctor:test", deep=True)
    names = ("store", "originals", "half-written files", "forgotten files", "copies in the cache")
    found = {each.check: each for each in examine(premises, fix=fix)}
    return {name: ailment.count for name in names if (ailment := found[name].left if fix else found[name].found)}


def test_the_doctor_finds_and_mends_what_is_wrong_in_a_bucket(
    site: Site, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.object_store.SAFE_AGE_SECONDS", -60)
    monkeypatch.setattr("worker.doctor.store_checks.SAFE_AGE_SECONDS", -60)
    pictures = [draw_radiograph(seed) for seed in range(2)]
    for data in pictures:
        site.upload(("hand.png", data))
    assert verdicts(site.settings, site.database) == {}
    # given: one altered, of which a copy is left; one that belongs to nobody; an announcement; a copy of what is gone
    key = f"{hashlib.sha256(pictures[0]).hexdigest()[:2]}/{hashlib.sha256(pictures[0]).hexdigest()}"
    obstore.put(s3.bucket(), key, pictures[0][:-1] + b"!")
    (site.settings.done / "hand.png").write_bytes(pictures[0])
    store = open_store(site.settings)
    store.put(DATA, SHA256)
    store.get(KEY)
    obstore.put(s3.bucket(), f"discarding/{SHA256}/dead", b"")
    monkeypatch.setattr("core.object_store._ANNOUNCED_SECONDS", -60)
    wrong = {"originals": 1, "half-written files": 1, "forgotten files": 1, "copies in the cache": 1}
    assert verdicts(site.settings, site.database) == wrong
    assert verdicts(site.settings, site.database, fix=True) == {}
    assert len(s3.names()) == 2
    assert store.get(key) == pictures[0]


def test_the_doctor_says_when_the_bucket_is_away(site: Site) -> None:
    away = site.settings.with_changes(store_endpoint="http://127.0.0.1:9")
    assert verdicts(away, site.database)["store"] == 1


def test_a_backup_holds_the_buckets_originals_and_fills_another_one(site: Site, s3: S3Server, tmp_path: Path) -> None:
    site.take_in(1, 2)
    made = make_backup(site.settings, site.database, tmp_path / "backup", lambda _: None)
    assert (made.originals, made.missing_originals) == (2, 0)
    elsewhere = s3.settings(tmp_path / "new", store_url=f"s3://{BUCKET}/{PREFIX}/elsewhere")
    database = Database(elsewhere.database_url)
    restored = restore_backup(elsewhere, database, tmp_path / "backup", "test", lambda _: None)
    assert restored.missing == 0
    assert set(open_store(elsewhere).kept()) == set(open_store(site.settings).kept())
    assert len([name for name in s3.names() if name.startswith("elsewhere/")]) == 2
    database.dispose()
    away = site.settings.with_changes(store_endpoint="http://127.0.0.1:9")
    with pytest.raises(StoreUnavailable, match="does not answer"):
        make_backup(away, site.database, tmp_path / "another", lambda _: None)


def test_retention_deletes_from_the_bucket_and_the_same_file_brings_it_back(
    site: Site, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.take_in(1)
    site.classify()
    assert site.client.get("/api/v1/radiographs/1/image.png").status_code == 200  # and there is a copy here
    store = open_store(site.settings)
    assert list(delete_expired(site.database, store, 90, "test")) == []
    with site.database.transaction() as session:
        session.execute(update(RadiographRow).values(received_at=datetime.now(UTC) - timedelta(days=91)))
        session.execute(update(ArrivalRow).values(received_at=datetime.now(UTC) - timedelta(days=91)))
    assert list(delete_expired(site.database, store, 90, "test")) == []  # it was written a moment ago
    for module in ("core.retention", "core.object_store"):
        monkeypatch.setattr(f"{module}.SAFE_AGE_SECONDS", -60)
    assert [each.files for each in delete_expired(site.database, store, 90, "test")] == [1]
    assert s3.names() == list(ObjectCache(site.settings.cache, 1).digests()) == []
    assert site.client.get("/api/v1/radiographs/1/image.png").status_code == 410
    site.take_in(1)
    assert len(s3.names()) == 1
    assert site.client.get("/api/v1/radiographs/1/image.png").status_code == 200
