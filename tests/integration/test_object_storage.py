"""Originals in a bucket, from the inbox to the prediction, with the bucket killed in between."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import obstore
import pytest
from sqlalchemy import func, select

from core.tables import ArrivalRow, JobRow, JobStatus
from tests.conftest import draw_radiograph, wait_until
from tests.integration.parts import PATIENCE, Installation, RedisServer
from tests.s3 import S3Server


@pytest.fixture
def s3(tmp_path: Path) -> Iterator[S3Server]:
    """A server of the test's own: it may be killed."""
    server = S3Server(tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def installation(
    tmp_path: Path, database_url: str, redis: RedisServer, shipped_models: Path, s3: S3Server
) -> Iterator[Installation]:
    told = {**s3.environment, "FRACTURE_STORE_CACHE_BYTES": "0", "FRACTURE_WORKER_PROCESSES": "1"}
    made = Installation(tmp_path / "home", database_url, redis, shipped_models, **told)
    yield made
    made.close()


def key_of(data: bytes) -> str:
    digest = hashlib.sha256(data).hexdigest()
    return f"{digest[:2]}/{digest}"


def arrivals(installation: Installation) -> int:
    with installation.database.reading() as session:
        return session.scalar(select(func.count()).select_from(ArrivalRow)) or 0


@pytest.mark.timeout(900)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_nothing_is_lost_while_the_bucket_is_away_and_an_altered_original_is_never_classified(
    installation: Installation, s3: S3Server
) -> None:
    pictures = [draw_radiograph(seed) for seed in range(4)]

    def drop(number: int) -> None:
        hidden = installation.settings.inbox / f".{number}.png"
        hidden.write_bytes(pictures[number])
        hidden.rename(hidden.with_name(f"{number}.png"))

    # given: two came in, one of them was altered in the bucket since
    installation.start("inbox")
    drop(0)
    drop(1)
    wait_until(lambda: arrivals(installation) == 2, within_seconds=PATIENCE, what="two files are recorded")
    assert s3.names() == sorted(key_of(data) for data in pictures[:2])
    obstore.put(s3.bucket(), key_of(pictures[1]), pictures[2])

    # when: the bucket dies, then two more files come in and a worker starts
    s3.kill()
    drop(2)
    drop(3)
    installation.start("beat")  # else nobody rings for what was postponed
    installation.start_worker()
    wait_until(lambda: installation.events("postponed") >= 2, within_seconds=PATIENCE, what="the worker postpones")
    wait_until(lambda: "does not answer" in installation.log("inbox"), within_seconds=PATIENCE, what="the inbox waits")

    # then: nothing was decided, and nothing was recorded that is not kept
    assert installation.count(JobStatus.WAITING, JobStatus.RUNNING) == 2
    assert arrivals(installation) == 2

    # and when it is back, everything goes on by itself
    s3.start()

    def ended() -> bool:
        return installation.count(JobStatus.DONE) == 3 and installation.count(JobStatus.FAILED) == 1

    # Pauses between tries double: on a busy machine, where the server took long to come back, the next one is far away.
    wait_until(ended, within_seconds=4 * PATIENCE, what="all have ended")
    with installation.database.reading() as session:
        failed = session.scalars(select(JobRow).where(JobRow.status == JobStatus.FAILED)).one()
        assert (failed.error_code, failed.deaths) == ("original-altered", 0)
    assert s3.names() == sorted(key_of(data) for data in pictures)

    def settled() -> list[str]:
        folders = (installation.settings.done, installation.settings.failed)
        return sorted(path.name for folder in folders for path in folder.iterdir())

    wait_until(lambda: len(settled()) == 5, within_seconds=PATIENCE, what="files are moved on")
    assert settled() == ["0.png", "1.png", "1.png.reason.txt", "2.png", "3.png"]
