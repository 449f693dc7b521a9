"""What nobody means to type, and outputs that take nothing: a sentence and an exit code, never a traceback."""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import pytest
from rich.console import Console

from cli.commands.results import _print_table
from cli.main import main
from core.records.filters import Filters
from core.records.results import list_results
from tests.conftest import PROJECT
from tests.fakes import FakeClassifier, make_card
from tests.unit.web_fixtures import Site

HUGE = "9" * 30
NO_TEXT = "\udcff"  # what a byte that is no UTF-8 becomes


@pytest.fixture
def answered(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setenv("FRACTURE_HOME", str(site.settings.home))
    monkeypatch.setenv("FRACTURE_DATABASE_URL", site.settings.database_url)
    site.take_in(1, name="Übergröße Ελλάδα 手 {}.png")
    site.classify("fracture-dislocation")
    return site


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["results", "--since", f"{HUGE}h"], "lies before the year 1"),
        (["results", "--until", "0001-01-01T00:00+14:00"], "lies before the year 1"),
        (["results", "--since", "yesterday"], "is no time; write 2026-03-01"),
        (["results", "--since", ""], "is no time; write 2026-03-01"),
        (["results", "--limit", HUGE], "is not in the range"),
        (["results", "--submission", HUGE], "is not in the range"),
        (["results", "--submission", "-1"], "is not in the range"),
        (["results", "--min-confidence", "nan"], "'nan' is no number"),
        (["results", "--name", NO_TEXT], "is no text in UTF-8"),
        (["results", "--label", NO_TEXT], "is no text in UTF-8"),
        (["results", "--model", ""], "There is no model ''"),
        (["explain", "."], "is a folder; the inbox takes its files one by one"),
        (["retry", "1", "99999"], "There is no radiograph 99999. Nothing was changed."),
        (["cancel", "99999", "88888"], "There is no radiograph 99999, 88888. Nothing was changed."),
        (["retry", HUGE], "is not in the range"),
        (["retry", "--error", NO_TEXT], "is no text in UTF-8"),
        (["cancel", HUGE], "is not in the range"),
        (["cancel", "--submission", HUGE], "is not in the range"),
        (["priority", HUGE, "1"], "is not in the range"),
        (["dicom-result", HUGE], "is not in the range"),
        (["retention", "--older-than", HUGE], "is not in the range"),
        (["export", "out", "--valid-share", "nan"], "'nan' is no number"),
        (["train", "cnn", "--data", "nowhere", "--valid-share", "nan"], "'nan' is no number"),
        (["train", "cnn", "--data", "nowhere", "--epochs", HUGE], "is not in the range"),
    ],
    ids=lambda value: " ".join(value).replace(NO_TEXT, "no text")[:40] if isinstance(value, list) else "",
)
def test_a_slip_is_told_in_a_sentence(
    answered: Site, arguments: Sequence[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("command", ["submit", "classify"])
def test_a_pipe_a_device_and_what_is_too_large_are_refused_without_reading_them(
    answered: Site, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("cli.commands.classify.load_classifier", lambda *_: FakeClassifier(make_card()))
    monkeypatch.setenv("FRACTURE_MAX_FILE_BYTES", "2000")
    os.mkfifo(tmp_path / "pipe.png")  # nobody writes it
    (tmp_path / "film.png").write_bytes(bytes(2001))
    assert run(command, "/dev/zero", str(tmp_path / "pipe.png"), str(tmp_path / "film.png")) == 1
    said = capsys.readouterr().out
    for name in ("zero", "pipe.png"):
        assert f"{name}: The file cannot be read: it is a folder, a pipe or a device. (unreadable)" in said
    assert "film.png: The file has 0.0 MiB; at most 0.0019" in said


@pytest.mark.parametrize(
    "arguments",
    [
        ["results", "--submission", str(2**63 - 1)],
        ["results", "--name", "%_\\'\""],
        ["results", "--label", "nosuch"],
        ["results", "--in-set", "nosuch"],
        ["results", "--since", "9999-12-31"],
    ],
    ids=" ".join,
)
def test_a_search_that_finds_nothing_says_so(
    answered: Site, arguments: Sequence[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == 0
    assert capsys.readouterr().err == "No stored result is like that.\n"


def test_a_name_keeps_a_dozen_characters_on_80_columns(answered: Site) -> None:
    with answered.database.reading() as session:
        found = list_results(session, Filters(), limit=10)
    whole = "Übergröße Ελλάδα 手 1.png"
    for width, is_terminal, shown in ((80, True, "Übergröße Ελ…"), (80, False, "Übergröße Ελ…"), (300, True, whole)):
        written = io.StringIO()
        _print_table(found, Console(file=written, width=width, force_terminal=is_terminal, color_system=None))
        assert shown in written.getvalue()
        assert "done" in written.getvalue()
        assert max(map(len, written.getvalue().splitlines())) <= width


def shell(
    site: Site, *arguments: str, output: int | IO[bytes], **environment: str
) -> subprocess.CompletedProcess[bytes]:
    told = {
        **{name: value for name, value in os.environ.items() if not name.startswith("FRACTURE_")},
        "FRACTURE_HOME": str(site.settings.home),
        "FRACTURE_DATABASE_URL": site.settings.database_url,
        **environment,
    }
    command = [sys.executable, "-m", "cli.main", *arguments]
    return subprocess.run(
        command, env=told, cwd=PROJECT, stdout=output, stderr=subprocess.PIPE, timeout=60, check=False
    )


def test_a_terminal_of_another_encoding_gets_question_marks_and_programs_get_utf_8(answered: Site) -> None:
    ascii_only = {"PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    shown = shell(answered, "results", output=subprocess.PIPE, **ascii_only)
    assert b"?bergr??e" in shown.stdout, shown.stderr
    read_by_programs = shell(answered, "results", "--format", "csv", output=subprocess.PIPE, **ascii_only)
    (row,) = csv.DictReader(io.StringIO(read_by_programs.stdout.decode()))
    assert row["name"] == "Übergröße Ελλάδα 手 1.png"


@pytest.mark.parametrize("arguments", [["--help"], ["results", "--format", "json"]], ids=" ".join)
def test_an_output_that_is_full_is_told(answered: Site, arguments: Sequence[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = shell(answered, *arguments, output=full)
    assert (done.returncode, done.stderr) == (1, b"fracture-queue: No space left on device.\n")
