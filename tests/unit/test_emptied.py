"""Folders of the inbox that taking their files has emptied."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from core.database import Database
from core.settings import Settings
from tests.conftest import copy_tables, draw_radiograph
from tests.unit.desk import SETTLE, Clock, Desk
from worker.emptied import EMPTY_TIMES


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """SQLite alone: no SQL of its own is behind this."""
    return copy_tables(tmp_path / "test.db")


@pytest.fixture
def desk(settings: Settings, database: Database, model_id: int, clock: Clock) -> Desk:
    return Desk(settings.with_changes(settle_seconds=SETTLE), database, clock)


def folders_below(top: Path) -> list[str]:
    return sorted(path.relative_to(top).as_posix() for path in top.rglob("*") if path.is_dir())


def pass_quietly(desk: Desk) -> None:
    """Let a folder be looked at, and so much time pass that it is quiet."""
    desk.look(0)
    desk.look(EMPTY_TIMES * SETTLE + 1)


def test_folders_go_when_their_files_were_taken_and_they_have_been_quiet(desk: Desk) -> None:
    desk.drop("study/deep/1.png", draw_radiograph(1))
    (desk.settings.inbox / "just-made").mkdir()
    desk.take()
    desk.look(EMPTY_TIMES * SETTLE / 2)
    assert folders_below(desk.settings.inbox) == ["just-made", "study", "study/deep"]  # not yet quiet for long enough

    for _ in range(2):  # the inner one first
        pass_quietly(desk)

    assert folders_below(desk.settings.inbox) == ["just-made"]
    desk.classify()
    desk.inbox.settle()
    assert desk.below(desk.settings.done) == ["study.SUMMARY.csv", "study/deep/1.png"]


def test_a_folder_that_is_used_or_holds_anything_stays(desk: Desk) -> None:
    for name in ("used", "kept", "refilled"):
        desk.drop(f"{name}/1.png", draw_radiograph(1))
    desk.drop("kept/.keep", b"")
    desk.take()
    desk.look(EMPTY_TIMES * SETTLE - 1)
    os.utime(desk.settings.inbox / "used", ns=(0, 0))  # something came and went
    desk.drop("refilled/2.png", draw_radiograph(2))
    desk.look(2)
    assert folders_below(desk.settings.inbox) == ["kept", "refilled", "used"]
    pass_quietly(desk)
    assert folders_below(desk.settings.inbox) == ["kept", "refilled"]  # whose second file was taken meanwhile
    pass_quietly(desk)
    pass_quietly(desk)
    assert folders_below(desk.settings.inbox) == ["kept"]
    assert desk.settings.inbox.is_dir()


def test_folders_that_an_earlier_process_emptied_go_after_the_next_start(desk: Desk) -> None:
    desk.drop("study/1.png", draw_radiograph(1))
    (desk.settings.inbox / "just-made").mkdir()
    desk.take()
    desk.classify()
    desk.inbox.settle()
    desk.restart()
    pass_quietly(desk)
    assert folders_below(desk.settings.inbox) == ["just-made"]
