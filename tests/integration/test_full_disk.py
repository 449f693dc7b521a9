"""Everything that an installation has lies on one disk, and the disk is full for a while."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.exceptions import RedisError

from chaos.check import check
from chaos.disks import Disk, DiskFailed, mounted
from chaos.faults import kill_inbox
from chaos.feed import Feed
from chaos.trial import EMBEDDED, Trial, running_trial, wait_until
from tests.conftest import FAST, draw_radiograph

#: Those that nobody kills.
ROLES = ("redis", "web", "worker", "beat")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    try:
        with mounted(tmp_path / "home") as disk:
            yield disk
    except DiskFailed as error:
        # Also in CI: a store and an inbox that fail stand in for it in unit/test_ingest.py and unit/test_inbox.py.
        pytest.skip(f"no file system can be mounted here: {error}")


def test_a_full_disk_refuses_in_words_loses_nothing_and_ends_nothing_for_good(disk: Disk) -> None:
    home = disk.folder
    on_it = {"FRACTURE_STORE_URL": f"file://{home / 'originals'}", "FRACTURE_INBOX": str(home / "inbox")}
    with running_trial(home, EMBEDDED, **FAST, **on_it) as trial:
        feed = Feed(trial, random.Random(1))
        feed.give(4)
        wait_until(trial.is_quiet, "the first are answered")
        processes = pids(trial)
        # when: there is no room any more, with work in hand and files in the inbox
        feed.give(24)
        wait_until(lambda: bool(trial.pool_at_work()), "work is in hand")
        feed.give(12)
        disk.fill()
        # then: an upload is refused with a sentence, what came before waits, the worker has lost its broker
        status, body = trial.post("refused.png", draw_radiograph(1))
        assert status == 503
        assert re.search(r"No space left on device\.$|disk is full\.$", json.loads(body)["detail"])
        assert not trial.is_ready()
        assert not trial.is_quiet()
        wait_until(lambda: not listens(trial), "Redis refuses to serve the worker")
        # and: the inbox, killed now, cannot start
        assert kill_inbox(trial, random.Random())
        started: set[int] = set()
        wait_until(lambda: len(note_inbox(trial, started)) >= 2, "the inbox has failed to start and tries again")
        # when, then: there is room again
        disk.make_room()
        feed.give(4)
        wait_until(trial.is_quiet, "everything is answered")
        assert trial.is_ready()
        assert pids(trial) == processes
        verdict = check(trial)
    assert verdict.is_clean, verdict
    assert verdict.given == 44


def note_inbox(trial: Trial, started: set[int]) -> set[int]:
    """Add the inbox's process of this moment to those seen."""
    if (process := trial.role("inbox")) is not None:
        started.add(process.pid)
    return started


def pids(trial: Trial) -> dict[str, int]:
    return {name: process.pid for name in ROLES if (process := trial.role(name)) is not None}


def listens(trial: Trial) -> bool:
    """Whether the worker waits at the broker for bells."""
    try:
        with trial.redis() as client:
            client.set("fracture-queue:probe", 1)  # what makes Redis notice that it cannot write
    except RedisError:
        pass
    with trial.redis() as client:
        return any(each["cmd"] == "brpop" for each in client.client_list())
