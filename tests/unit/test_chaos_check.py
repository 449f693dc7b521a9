"""The check that chaos ends with: it finds what is lost, doubled, altered or left behind, each by itself."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import text

from chaos import faults, report
from chaos.check import Verdict, check
from chaos.matrix import Row
from chaos.trial import EMBEDDED, Trial, TrialFailed
from core.database import Database
from core.settings import Settings
from tests.conftest import add_model, draw_radiograph
from tests.unit.desk import Desk

GIVEN = 4


@pytest.fixture
def trial(settings: Settings, database: Database, model_id: int) -> Iterator[Trial]:
    """Four radiographs that came through the inbox, were answered, and lie in done/."""
    url = database.url.render_as_string(hide_password=False)
    trial = Trial(settings.with_changes(database_url=url), {}, EMBEDDED)
    desk = Desk(trial.settings, database)
    desk.inbox.waiting.tracker = type(desk.inbox.waiting.tracker)(0.0)
    for number in range(GIVEN):
        content = draw_radiograph(number)
        desk.drop(f"drop-{number}.png", content)
        trial.given[f"drop-{number}.png"] = content
    desk.take()
    desk.classify()
    desk.inbox.settle()
    yield trial
    trial.database.dispose()


def sql(trial: Trial, statement: str) -> None:
    with trial.database.transaction() as session:
        session.execute(text(statement))


def original(trial: Trial) -> None:
    path = next(path for path in trial.settings.store_path.rglob("*") if path.is_file())  # type: ignore[union-attr]
    path.write_bytes(path.read_bytes()[:-1] + b"?")


def missing(trial: Trial) -> None:
    next(path for path in trial.settings.store_path.rglob("*") if path.is_file()).unlink()  # type: ignore[union-attr]


def unanswered(trial: Trial) -> None:
    sql(trial, "DELETE FROM scores WHERE prediction_id = 1")
    sql(trial, "DELETE FROM predictions WHERE id = 1")


def failed_in_words(trial: Trial) -> None:
    unanswered(trial)
    sql(trial, "UPDATE jobs SET status = 'failed', error_words = 'It is damaged.' WHERE id = 1")


def failed_without_words(trial: Trial) -> None:
    unanswered(trial)
    sql(trial, "UPDATE jobs SET status = 'failed' WHERE id = 1")


def never_recorded(trial: Trial) -> None:
    trial.given["upload-9.png"] = draw_radiograph(9)


def recorded_twice(trial: Trial) -> None:
    statement = "INSERT INTO radiographs (sha256, frame, {0}) SELECT sha256, 1, {0} FROM radiographs WHERE id = 1"
    sql(trial, statement.format("media_type, width, height, bit_depth, bytes, storage_key, name, source, received_at"))


def another_model(trial: Trial) -> None:
    add_model(trial.database, "second-model")


def vanished(trial: Trial) -> None:
    next(trial.settings.done.iterdir()).unlink()


@pytest.mark.parametrize(
    ("harm", "found"),
    [
        (lambda _: None, {}),
        (failed_in_words, {}),
        (original, {"altered": 1}),
        (missing, {"altered": 1}),
        (unanswered, {"lost": 1}),
        (failed_without_words, {"lost": 1}),
        (never_recorded, {"given": GIVEN + 1, "lost": 1}),
        (recorded_twice, {"lost": 1, "doubled": 1}),
        (another_model, {"lost": GIVEN}),
        (vanished, {"left": 1}),
    ],
)
def test_each_harm_is_found(trial: Trial, harm: Callable[[Trial], None], found: dict[str, int]) -> None:
    harm(trial)
    verdict = check(trial)
    assert verdict == Verdict(**{"given": GIVEN, "lost": 0, "doubled": 0, "altered": 0, "left": 0, **found})
    assert verdict.is_clean == (not found)


def test_what_cannot_strike_here_is_left_out_in_words(trial: Trial) -> None:
    left_out = faults.left_out(trial)
    assert left_out == ["disk of the originals full", "disk of the inbox full"]
    assert not {fault.name for fault in faults.possible_faults(trial)} & {*left_out, "PostgreSQL stopped and started"}
    assert report.left_out_line(left_out).endswith("disk of the originals full, disk of the inbox full.")
    assert report.document(None, [], left_out)["left_out"] == left_out


def test_a_strike_without_anything_to_hurt_does_not_count(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chaos.faults._PATIENCE", 0.0)  # this trial runs no process at all
    for fault in faults.possible_faults(trial):
        if "killed" in fault.name and "Redis" not in fault.name and "`up`" not in fault.name:
            assert not fault.strike(trial, random.Random(0)), fault.name


def test_an_installation_that_gave_up_is_noticed(trial: Trial) -> None:
    trial.check_alive()
    (trial.settings.home / "up.out").write_text("Starting ...\ninbox cannot run: the disk is on strike.\n")
    with subprocess.Popen([sys.executable, "-c", "raise SystemExit(2)"]) as ended:
        trial._up = ended
    with pytest.raises(TrialFailed, match=r"exit code 2: .*the disk is on strike"):
        trial.is_quiet()


def test_a_row_says_how_often_it_struck() -> None:
    row = Row("Redis paused", EMBEDDED, given=24, lost=0, doubled=0, altered=0, seconds=(2.0, 1.0, 6.0))
    assert list(report.matrix_lines([row]))[2:] == [
        "| Redis paused | SQLite, embedded Redis | 3 | 24 | 0 | 0 | 0 | 2.0 (1.0-6.0) |"
    ]
