"""`queue`, `cancel`, `pause`, `resume` and `priority` in the terminal."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from cli.commands.queue import _shown
from cli.main import fracture_queue, main
from core.errors import DatabaseUnavailable
from core.records.workers import Identity, beat
from tests.unit.web_fixtures import Site


@pytest.fixture
def here(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setenv("FRACTURE_HOME", str(site.settings.home))
    monkeypatch.setenv("COLUMNS", "80")
    return site


def run(*arguments: str) -> Result:
    return CliRunner().invoke(fracture_queue, arguments, catch_exceptions=False)


def drawn(shown: Any) -> str:
    console = Console(width=80)
    with console.capture() as captured:
        console.print(shown)
    return captured.get()


def test_without_a_broker_the_database_still_tells_and_it_says_that_the_broker_is_away(here: Site) -> None:
    here.take_in(1, 2)
    here.fail("unreadable", "The picture data are cut off.")
    here.take_in(3)

    text = run("queue").output
    document: dict[str, Any] = json.loads(run("queue", "--json").stdout)

    assert "The broker does not answer." in text
    assert "The picture data are cut off." in text
    assert (document["waiting"], document["failed"], document["broker"]["answers"]) == (1, 2, False)
    assert document["failures"][0]["count"] == 2
    # What the API answers has the same keys.
    answered = here.client.get("/api/v1/queue").get_json()
    assert document.keys() == answered.keys()
    assert document["failures"][0].keys() == answered["failures"][0].keys()


def test_counts_and_rates_are_called_answers_since_each_model_gives_one(here: Site) -> None:
    here.add_model("whether", task="fracture", labels=("fractured", "not-fractured"))
    here.take_in(1)
    here.classify()

    text = run("queue").output
    page = here.client.get("/queue").text

    assert "Answers, one of each model to each radiograph" in text
    assert "Answers/s over 1, 5, 60 min: 0.0" in text
    assert json.loads(run("queue", "--json").stdout)["done"] == 2
    assert "one for each active model and radiograph" in page
    assert "answers/s" in page
    assert "mages/s" not in text + page


def test_everything_fits_into_80_columns(here: Site) -> None:
    with here.database.transaction() as session:
        for pid in (30780, 4194304):
            worker = Identity("worker", "radiology-workstation-7", pid)
            beat(session, worker, engine="litert", model="fracture-types-large/2.0.0", idle_seconds=1)
    here.take_in(1)
    here.fail("too-much-memory", "The picture needs more memory than this installation allows. " * 3)
    run("pause", "workers", "--note", "new disk")
    lines = drawn(_shown(here.app.extensions["fracture-queue"].overview.figures())).splitlines()

    assert max(len(line) for line in lines) <= 80
    text = "".join(lines)
    for words in ("idle, paused", "4194304", "too-much-memory", "All workers are paused since", "MiB"):
        assert words in text


def test_watching_goes_on_until_it_is_interrupted_and_says_when_figures_are_old(
    here: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []
    steps: Iterator[Callable[[], object]] = iter(
        [lambda: here.take_in(1), lambda: monkeypatch.setattr("core.overview.queue_figures", unavailable)]
    )

    def unavailable(*_: Any, **__: Any) -> None:
        raise DatabaseUnavailable

    def sleep(_seconds: float) -> None:
        step = next(steps, None)
        if step is None:
            raise KeyboardInterrupt
        step()

    monkeypatch.setattr("cli.commands.queue.time", SimpleNamespace(sleep=sleep))
    monkeypatch.setattr("cli.commands.queue.Live.update", lambda _, group, **__: shown.append(drawn(group)))
    assert run("queue", "--watch").exit_code == 1

    assert len(shown) == 2
    assert "│      1│" in shown[0]
    assert "The database does not answer. These figures are old." in shown[1]


def test_orders_are_given_from_the_terminal_too(here: Site) -> None:
    here.take_in(1, 2)
    here.take_in(3)

    assert "1 of its jobs waited." in run("priority", "2", "-10").output
    assert run("cancel", "3").output == "1 job was cancelled.\n"
    assert run("cancel", "3").exit_code == 1
    assert run("cancel", "--submission", "1").output == "2 jobs were cancelled.\n"
    assert run("cancel", "--all").output == "0 jobs were cancelled.\n"
    assert run("retry", "--failed").output == "3 jobs wait again.\n"
    assert run("pause", "intake", "--note", "moving").output == "Paused.\n"
    assert run("pause", "intake").output == "That was paused already.\n"
    assert json.loads(run("queue", "--json").stdout)["paused"][0]["words"].endswith(": moving.")
    assert run("resume", "intake").output == "Resumed.\n"
    assert run("resume", "intake").output == "That was not paused.\n"


def test_check_shows_what_is_paused_without_calling_it_wrong(here: Site) -> None:
    def told() -> tuple[str, dict[str, Any]]:
        lines = [line for line in run("check").output.splitlines() if "pauses:" in line]
        (found,) = (each for each in json.loads(run("check", "--json").stdout) if each["check"] == "pauses")
        return lines[0], found

    assert told()[0] == "ok     pauses: Neither the intake nor workers are paused."
    with here.database.transaction() as session:
        beat(session, Identity("worker", "ward-7", 1), engine="litert")
    run("pause", "intake", "--note", "new disk")
    run("pause", "workers", "--host", "ward-7")
    line, found = told()
    assert line.startswith("note   pauses: The intake is paused since ")
    assert "new disk. The workers of ward-7 are paused since " in line
    assert (found["ok"], found["code"]) == (True, "paused")


def test_pausing_a_machine_that_nobody_knows_is_refused_in_a_sentence(
    here: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["pause", "workers", "--host", "ward-77"])
    assert ended.value.code == 2
    assert "No worker of a machine 'ward-77' is known; no worker has been heard of lately." in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ("cancel",),
        ("cancel", "1", "--all"),
        ("cancel", "--submission", "x"),
        ("pause", "beat"),
        ("pause", "intake", "--host", "a"),
        ("resume", "intake", "--host", "a"),
        ("priority", "1", "101"),
        ("queue", "--json", "--watch"),
    ],
)
def test_wrong_use_is_exit_code_2(here: Site, arguments: tuple[str, ...]) -> None:
    assert run(*arguments).exit_code == 2
