"""Slow writers that pause, on a file system of its own, with the inbox's own process in polling mode."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from chaos.disks import DiskFailed, mounted
from core.tables import ArrivalRow, ArrivalStatus, JobRow
from tests.conftest import wait_until
from tests.integration.parts import PATIENCE, Installation, RedisServer
from tests.slow_share import Share, bring, content


@pytest.fixture
def share(tmp_path: Path) -> Iterator[Path]:
    """The inbox: a file system of its own where one can be mounted."""
    inbox = tmp_path / "home" / "inbox"
    try:
        with mounted(inbox):
            yield inbox
    except DiskFailed:
        yield inbox


def drop(share: Path, redis: RedisServer, database_url: str, models: Path, files: int, pace: Share) -> dict[str, float]:
    """Bring files and check that each is one arrival, whole; return how long it took."""
    settle = pace.long_pauses[1] / 2.5  # so that long pauses are longer than a file has to be quiet
    installation = Installation(
        share.parent,
        database_url,
        redis,
        models,
        FRACTURE_INBOX_POLLING="1",
        FRACTURE_SETTLE_SECONDS=f"{settle:g}",
        FRACTURE_RESCAN_SECONDS="3600",
    )
    try:
        process = installation.start("inbox")
        begun = time.monotonic()
        bring(share, files, pace)
        brought = time.monotonic()

        def count() -> int:
            with installation.database.reading() as session:
                return session.scalar(select(func.count()).select_from(ArrivalRow)) or 0

        wait_until(lambda: count() >= files, within_seconds=PATIENCE + files / 20, what="every file is an arrival")
        ended = time.monotonic()
        process.terminate()
        assert process.wait(timeout=PATIENCE) == 0
        with installation.database.reading() as session:
            rows = session.execute(select(ArrivalRow.name, ArrivalRow.sha256, ArrivalRow.status)).all()
            jobs = session.scalar(select(func.count()).select_from(JobRow))
        expected = {name: hashlib.sha256(data).hexdigest() for name, data in map(content, range(files))}
        assert {row.status for row in rows} == {ArrivalStatus.ACCEPTED}
        half_read = [row.name for row in rows if expected[row.name] != row.sha256]
        assert half_read == []
        assert sorted(row.name for row in rows) == sorted(expected)
        assert jobs == len(set(expected.values())) == files
        assert [path for path in share.rglob("*") if path.is_file()] == []
        return {"seconds of writing": brought - begun, "seconds after the last byte": ended - brought}
    finally:
        installation.close()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_forty_files_over_a_slow_share_are_forty_whole_arrivals(
    share: Path, redis: RedisServer, database_url: str, shipped_models: Path
) -> None:
    pace = Share(at_once=40, pauses=(0.02, 0.2), long_pauses=(0.8, 1.25), long_share=0.2)
    drop(share, redis, database_url, shipped_models, 40, pace)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_five_thousand_files_over_a_slow_share_are_five_thousand_whole_arrivals(
    share: Path, redis: RedisServer, database_url: str, shipped_models: Path
) -> None:
    pace = Share(at_once=100, pauses=(0.05, 0.4), long_pauses=(1.5, 2.5), long_share=0.1)
    figures = drop(share, redis, database_url, shipped_models, 5000, pace)
    print({name: round(value, 1) for name, value in figures.items()})  # noqa: T201 - shown by `pytest -rP`
