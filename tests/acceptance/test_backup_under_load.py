"""A backup of a whole installation at work; what is restored from it answers as before and finishes the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.tables import JobStatus
from tests.acceptance.conftest import Installation
from tests.conftest import wait_until


@pytest.mark.long
@pytest.mark.timeout(600)
def test_what_is_restored_from_a_backup_under_load_answers_as_before_and_finishes_the_rest(
    installation: Installation, test_radiographs: list[Path], tmp_path: Path
) -> None:
    # given: a backup in the middle of the work
    installation.drop(*test_radiographs)
    wait_until(lambda: installation.count(JobStatus.DONE) >= 10, within_seconds=90, what="ten are done")
    made = installation.run("backup", str(tmp_path / "backup"))
    assert made.returncode == 0, made.stderr
    wait_until(
        lambda: (
            not any(installation.settings.inbox.iterdir())
            and installation.count(JobStatus.WAITING, JobStatus.RUNNING) == 0
        ),
        within_seconds=180,
        what="the first installation has done everything",
    )
    before = {result["sha256"]: result for result in installation.results()}
    installation.stop()

    # when
    restored = Installation(tmp_path / "elsewhere" / "home")
    said = restored.run("restore", str(tmp_path / "backup"))
    assert said.returncode == 0, said.stdout + said.stderr
    looked_over = restored.run("doctor")
    assert looked_over.returncode == 0, looked_over.stdout
    answered = {result["sha256"]: result for result in restored.results() if result["status"] == "done"}
    waiting = restored.queue()["waiting"]

    # then: what was answered then is answered likewise now
    assert len(answered) >= 10
    assert answered == {sha256: before[sha256] for sha256 in answered}
    # and: what was not is classified, with the same answers as in the first installation
    assert waiting > 0, "the backup came too late: nothing waited any more"
    restored.start()
    try:
        restored.wait_for_done(len(answered) + waiting, within_seconds=180)
        for result in restored.results():
            known = before[result["sha256"]]
            assert (result["label"], result["scores"]) == (known["label"], pytest.approx(known["scores"]))
    finally:
        restored.stop()
