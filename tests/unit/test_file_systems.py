"""Which file system a folder lies on, and what the doctor proposes for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.database import Database
from core.file_systems import FileSystem, file_system_of
from core.home import prepare_home
from core.settings import Settings
from core.storage import FolderStore
from worker.doctor.ailments import Ailment, Premises
from worker.doctor.inbox_checks import INBOX_CHECKS

MOUNTS = r"""22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
40 27 0:40 / /srv/share rw,relatime shared:1 master:2 - nfs4 server:/export rw,vers=4.2
41 40 0:41 / /srv/share/old ro,relatime - ext4 /dev/vdb rw
42 27 0:42 / /srv/ward\0407 rw - cifs //server/ward rw
43 27 0:43 / /srv/twice rw - ext4 /dev/vdc rw
44 27 0:44 / /srv/twice rw shared:7 - fuse.sshfs host:/ ro
a line that nobody understands
"""


@pytest.mark.parametrize(
    ("folder", "kind", "shared", "read_only"),
    [
        ("/home/anna/inbox", "ext4", False, False),
        ("/srv/share/inbox", "nfs4", True, False),
        ("/srv/sharesale", "ext4", False, False),
        ("/srv/share/old/inbox", "ext4", False, True),
        ("/srv/ward 7", "cifs", True, False),
        ("/srv/twice", "fuse.sshfs", True, True),
    ],
)
def test_the_innermost_and_latest_mount_counts(folder: str, kind: str, shared: bool, read_only: bool) -> None:
    found = file_system_of(Path(folder), MOUNTS)
    assert found is not None
    assert (found.kind, found.is_shared, found.read_only) == (kind, shared, read_only)


@pytest.mark.parametrize(
    ("kind", "shared"),
    [
        *((kind, True) for kind in ("nfs", "nfs4", "cifs", "smb3", "9p", "vboxsf", "virtiofs", "fuse", "fuse.rclone")),
        *((kind, False) for kind in ("ext4", "xfs", "btrfs", "tmpfs", "overlay", "zfs", "vfat", "fuseblk")),
    ],
)
def test_what_others_change_unseen_is_a_share(kind: str, shared: bool) -> None:
    assert FileSystem(kind, "/mnt", read_only=False).is_shared is shared


def test_this_machine_has_a_file_system_and_nonsense_has_none(tmp_path: Path) -> None:
    found = file_system_of(tmp_path / "not there yet")
    assert found is not None
    assert found.kind
    assert file_system_of(tmp_path, "") is None


def proposals(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch, found: FileSystem | None
) -> dict[str, Ailment | None]:
    prepare_home(settings)
    monkeypatch.setattr("worker.doctor.inbox_checks.file_system_of", lambda _: found)
    premises = Premises(settings, database, FolderStore.at(settings.store_url), "doctor:test")
    return {check.name: check.examine(premises) for check in INBOX_CHECKS if check.name in ("watching", "writing")}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_doctor_proposes_polling_for_a_share_and_is_quiet_once_it_is_set(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    share = FileSystem("nfs4", "/srv", read_only=False)
    ailment = proposals(settings, database, monkeypatch, share)["watching"]
    assert ailment is not None
    assert "nfs4" in ailment.words
    assert "FRACTURE_INBOX_POLLING=1" in ailment.words
    assert ailment.notice  # nothing is broken: the exit code stays 0
    polling = settings.with_changes(inbox_polling=True)
    for changed, found in ((polling, share), (settings, FileSystem("ext4", "/", read_only=False)), (settings, None)):
        assert proposals(changed, database, monkeypatch, found) == {"watching": None, "writing": None}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_doctor_says_that_nothing_can_be_taken_out_of_a_read_only_mount(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounted = FileSystem("ext4", "/srv", read_only=True)
    ailment = proposals(settings, database, monkeypatch, mounted)["writing"]
    assert ailment is not None
    assert "FRACTURE_INBOX_READ_ONLY=1" in ailment.words
    assert not ailment.notice
    settings.inbox.mkdir(parents=True, exist_ok=True)
    read_only = settings.with_changes(inbox_read_only=True)
    assert proposals(read_only, database, monkeypatch, mounted)["writing"] is None
