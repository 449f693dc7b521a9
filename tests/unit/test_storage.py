import errno
import hashlib
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from core.errors import ConfigurationError, StoreUnavailable
from core.storage import FolderStore

DATA = b"the bytes of a radiograph"
SHA256 = hashlib.sha256(DATA).hexdigest()
KEY = f"{SHA256[:2]}/{SHA256}"


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


def files_below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_what_is_put_can_be_got_and_lies_under_its_hash(store: FolderStore) -> None:
    assert store.put(DATA, SHA256) == KEY
    assert store.get(KEY) == DATA
    assert files_below(store.folder) == [KEY]


def test_the_same_content_twice_is_kept_once(store: FolderStore) -> None:
    store.put(DATA, SHA256)
    before = store.path(KEY).stat()
    assert store.put(DATA, SHA256) == KEY
    assert store.path(KEY).stat().st_ino == before.st_ino
    assert files_below(store.folder) == [KEY]


def test_a_file_of_another_length_is_replaced(store: FolderStore) -> None:
    store.put(DATA, SHA256)
    store.path(KEY).write_bytes(DATA[:5])
    store.put(DATA, SHA256)
    assert store.get(KEY) == DATA


def test_many_writers_of_the_same_content_do_not_disturb_each_other(store: FolderStore) -> None:
    data = os.urandom(200_000)
    digest = hashlib.sha256(data).hexdigest()
    writers = [threading.Thread(target=store.put, args=(data, digest)) for _ in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert store.get(f"{digest[:2]}/{digest}") == data
    assert len(files_below(store.folder)) == 1


@pytest.mark.parametrize("key", ["", "..", "../../etc/passwd", f"ab/../{SHA256}", f"/etc/{SHA256}", SHA256, f"{KEY}\n"])
def test_a_key_that_the_store_did_not_give_is_refused(key: str, store: FolderStore) -> None:
    for use in (store.get, store.path):
        with pytest.raises(ValueError, match="no storage key"):
            use(key)


@pytest.mark.parametrize("digest", ["", "../../etc/passwd", SHA256.upper(), SHA256[:-1], f"{SHA256}\n"])
def test_only_a_sha256_names_an_original(digest: str, store: FolderStore) -> None:
    with pytest.raises(ValueError, match="no sha256"):
        store.put(DATA, digest)
    assert not store.folder.exists()


def test_a_half_written_file_is_never_visible(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []
    synced = os.fsync

    def watched(descriptor: int) -> None:
        seen.append(store.path(KEY).exists())
        synced(descriptor)

    monkeypatch.setattr("core.storage.os.fsync", watched)
    store.put(DATA, SHA256)
    # The content is on the disk before it has its name, and the name is made durable after.
    assert seen[0] is False
    assert seen[-1] is True


@pytest.mark.parametrize("step", ["write", "fsync", "rename", "mkdir"])
def test_a_full_disk_is_said_in_words_and_leaves_nothing_behind(
    step: str, store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    opened = Path.open

    def open_full(path: Path, *arguments: Any, **options: Any) -> Any:
        stream = opened(path, *arguments, **options)
        stream.close()
        return full()

    with monkeypatch.context() as broken:
        target, replacement = {
            "write": ("core.storage.Path.open", open_full),
            "fsync": ("core.storage.os.fsync", full),
            "rename": ("core.storage.Path.replace", full),
            "mkdir": ("core.storage.Path.mkdir", full),
        }[step]
        broken.setattr(target, replacement)
        with pytest.raises(StoreUnavailable, match=f"cannot be stored in {store.folder}: No space left on device"):
            store.put(DATA, SHA256)
    assert files_below(store.folder) == []
    # and once there is room again, it goes well
    assert store.get(store.put(DATA, SHA256)) == DATA


def test_an_original_that_is_gone_is_a_passing_cause_with_its_key(store: FolderStore) -> None:
    with pytest.raises(StoreUnavailable, match=f"The original {KEY} cannot be read: No such file"):
        store.get(KEY)


def test_only_an_absolute_file_address_is_a_store(tmp_path: Path) -> None:
    assert FolderStore.at(f"file://{tmp_path}").folder == tmp_path
    for url in ("file://relative", "s3://bucket", str(tmp_path), ""):
        with pytest.raises(ConfigurationError, match="is no file:// address"):
            FolderStore.at(url)
