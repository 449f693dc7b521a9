"""The main job: real radiographs dropped in the inbox become stored answers."""

from __future__ import annotations

import os
import signal
import struct
import zlib
from pathlib import Path

import pytest
from sqlalchemy import func, select

from core.bundle import sha256_of
from core.tables import ArrivalRow, JobRow, JobStatus, PredictionRow, ScoreRow
from tests.acceptance.conftest import Installation, children_of, is_alive
from tests.conftest import wait_until


def black_png(width: int, height: int) -> bytes:
    """A small file with a huge picture: every row is zero, so it compresses a thousandfold."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(width + 1)) for _ in range(height)) + packer.flush()

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def files_below(folder: Path) -> list[Path]:
    """Files, hidden ones left out; folders may go while we look, which `os.walk` bears and `rglob` does not."""
    return [Path(parent, name) for parent, _, names in os.walk(folder) for name in names if not name.startswith(".")]


def all_ended(installation: Installation, jobs: int) -> bool:
    left = installation.count(JobStatus.WAITING, JobStatus.RUNNING)
    return left == 0 and installation.count(JobStatus.DONE, JobStatus.FAILED) >= jobs


def test_100_radiographs_dropped_at_once_become_100_answers(
    installation: Installation, test_radiographs: list[Path]
) -> None:
    files = test_radiographs[:100]
    contents = {sha256_of(path) for path in files}

    installation.drop(*files)

    wait_until(lambda: all_ended(installation, len(contents)), within_seconds=90, what="all jobs ended")
    wait_until(lambda: not files_below(installation.settings.processing), within_seconds=20, what="all files moved on")
    with installation.database().reading() as session:
        assert session.scalar(select(func.count()).select_from(ArrivalRow)) == 100
        jobs = session.scalars(select(JobRow.status)).all()
        assert jobs == [JobStatus.DONE] * len(contents)
        sums = session.execute(
            select(func.count(), func.sum(ScoreRow.probability)).group_by(ScoreRow.prediction_id)
        ).all()
    assert len(sums) == len(contents)
    for count, total in sums:
        assert count == 10
        assert total == pytest.approx(1, abs=1e-4)
    assert files_below(installation.settings.inbox) == []
    assert {path.name for path in files_below(installation.settings.done)} == {path.name for path in files}
    results = installation.results()
    assert {result["sha256"] for result in results} == contents
    assert {result["status"] for result in results} == {"done"}
    for result in results:
        assert result["label"] == max(result["scores"], key=lambda label: result["scores"][label])
        assert result["confidence"] == pytest.approx(result["scores"][result["label"]])


def test_the_whole_data_set_with_bad_files_among_it(
    installation: Installation, manifest: list[dict[str, str]], tmp_path: Path
) -> None:
    good = [Path(row["path"]) for row in manifest]
    contents = {sha256_of(path) for path in good}
    folders = sorted({path.parent.parent for path in good})  # one for each fracture type, with Train and Test below
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "zero.jpg").touch()
    whole = good[0].read_bytes()
    (bad / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (bad / "renamed text.jpg").write_text("Dear colleague, please find the radiograph elsewhere.")
    (bad / "bomb.png").write_bytes(black_png(30_000, 30_000))
    worker = installation.role("worker")
    pool = set(children_of(worker))

    installation.drop(*folders, bad)

    # The truncated file has a sound header: it is accepted, and its job fails when the picture is decoded.
    wait_until(lambda: all_ended(installation, len(contents) + 1), within_seconds=240, what="all jobs ended")
    wait_until(lambda: not files_below(installation.settings.processing), within_seconds=30, what="all files moved on")
    figures = installation.queue()
    assert (figures["done"], figures["failed"], figures["quarantined"]) == (len(contents), 1, 0)
    assert figures["rejected"] == 3
    done = [path for path in files_below(installation.settings.done) if not path.name.endswith(".SUMMARY.csv")]
    assert len(done) == len(good)
    reasons = {
        path.name.removesuffix(".reason.txt"): path.read_text()
        for path in files_below(installation.settings.failed)
        if path.name.endswith(".reason.txt")
    }
    assert reasons.keys() == {"zero.jpg", "truncated.jpg", "renamed text.jpg", "bomb.png"}
    assert reasons["zero.jpg"] == "The file is empty (0 bytes).\n"
    assert "not a JPEG, PNG, BMP, TIFF, WebP or DICOM" in reasons["renamed text.jpg"]
    assert "damaged or cut off" in reasons["truncated.jpg"]
    assert "30000 x 30000" in reasons["bomb.png"]
    assert installation.role("worker") == worker
    assert pool <= set(children_of(worker)), "no pool process died"


@pytest.mark.parametrize("victim", [pytest.param("the worker's main process", marks=pytest.mark.long), "a pool child"])
def test_killing_the_worker_three_times_loses_and_doubles_nothing(
    installation: Installation, manifest: list[dict[str, str]], victim: str
) -> None:
    files = list({row["sha256"]: Path(row["path"]) for row in manifest}.values())[:600]
    for number in range(3):
        installation.drop(*files[number * 200 : (number + 1) * 200])
        main = installation.role("worker")

        child, running = wait_for_busy_child(installation, main)
        pid = main if victim == "the worker's main process" else child
        os.kill(pid, signal.SIGKILL)

        assert running > 0
        wait_until(lambda pid=pid: not is_alive(pid), within_seconds=10, what="it died")  # type: ignore[misc]
        wait_until(lambda: "worker" in installation.roles_alive(), within_seconds=20, what="a worker runs again")

    wait_until(lambda: all_ended(installation, len(files)), within_seconds=120, what="all jobs ended")
    with installation.database().reading() as session:
        assert session.scalars(select(JobRow.status)).all() == [JobStatus.DONE] * len(files)
        assert session.scalar(select(func.count()).select_from(PredictionRow)) == len(files)


def wait_for_busy_child(installation: Installation, main: int) -> tuple[int, int]:
    """Return the process id of a pool child that holds jobs, and how many are running at that moment.

    None of them was in the hands of an earlier victim: one that is present at three deaths is quarantined, rightly.
    """
    seen: list[tuple[int, int]] = []

    def found() -> bool:
        with installation.database().reading() as session:
            rows = session.execute(select(JobRow.worker, JobRow.deaths).where(JobRow.status == JobStatus.RUNNING)).all()
        pids = {int(str(name).rsplit(":", 1)[1]) for name, _ in rows} & set(children_of(main))
        seen[:] = [(pid, len(rows)) for pid in sorted(pids)] if not any(deaths for _, deaths in rows) else []
        return bool(seen)

    wait_until(found, within_seconds=60, what="a pool child holds jobs that no death has touched")
    return seen[0]
