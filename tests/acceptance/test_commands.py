"""The command line as a user meets it: answers, exit codes, and one sentence for each mistake."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from core.ports import free_port
from core.settings import Settings
from core.tables import JobStatus
from tests.acceptance.conftest import COMMAND, Installation
from tests.conftest import PROJECT, ten_class_folder


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("FRACTURE_")}
    return subprocess.run(
        [*COMMAND, *arguments],
        env={**inherited, "FRACTURE_MODELS": str(ten_class_folder()), **environment},
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_classify_needs_neither_queue_nor_database(test_radiographs: list[Path], tmp_path: Path) -> None:
    answered = run("classify", *map(str, test_radiographs[:3]), "--json", FRACTURE_HOME=str(tmp_path / "nowhere"))

    found = json.loads(answered.stdout)
    assert answered.returncode == 0
    assert [entry["name"] for entry in found] == [path.name for path in test_radiographs[:3]]
    for entry in found:
        assert len(entry["scores"]) == 10
        assert sum(entry["scores"].values()) == pytest.approx(1, abs=1e-4)
        assert entry["confidence"] == pytest.approx(max(entry["scores"].values()))
    assert not (tmp_path / "nowhere").exists()


def test_classify_names_each_bad_file_and_answers_for_the_good(test_radiographs: list[Path], tmp_path: Path) -> None:
    text = tmp_path / "text.jpg"
    text.write_text("no picture")

    answered = run("classify", str(text), str(test_radiographs[0]), str(tmp_path / "absent.png"), "--json")

    assert answered.returncode == 1
    codes = [(entry["error"] or {}).get("code") for entry in json.loads(answered.stdout)]
    assert codes == ["unsupported", None, "unreadable"]


def test_submit_waits_with_a_progress_bar_and_shows_the_answers(
    shared_installation: Installation, test_radiographs: list[Path], tmp_path: Path
) -> None:
    folder = tmp_path / "radiographs"
    folder.mkdir()
    for path in test_radiographs[:12]:
        shutil.copy(path, folder)
    done_before = shared_installation.count(JobStatus.DONE)
    leader, follower = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, "submit", str(folder), "--wait", "--json"],
        env={**shared_installation.environment, "TERM": "xterm", "COLUMNS": "100"},
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=follower,
    ) as process:
        os.close(follower)
        shown = b""
        while True:
            try:
                piece = os.read(leader, 4096)
            except OSError:  # the other end is closed: the command has ended
                break
            if not piece:
                break
            shown += piece
        assert process.stdout is not None
        entries = json.loads(process.stdout.read())
    os.close(leader)

    assert process.returncode == 0
    assert "Classifying" in shown.decode() and "12/12" in shown.decode()
    assert len(entries) == 12
    assert all(entry["results"][0]["status"] == "done" for entry in entries)
    again = shared_installation.run("submit", str(folder), "--json")
    assert [entry["duplicate"] for entry in json.loads(again.stdout)] == [True] * 12
    assert shared_installation.queue()["done"] == done_before + 12


def test_results_come_as_table_json_csv_and_parquet(
    shared_installation: Installation, test_radiographs: list[Path], tmp_path: Path
) -> None:
    import pyarrow.parquet

    evil = tmp_path / "=cmd()|' /C calc'!A0.jpg".replace("/", "")
    shutil.copy(test_radiographs[20], evil)
    submitted = shared_installation.run("submit", str(evil), str(test_radiographs[21]), "--wait", "--json")
    assert submitted.returncode == 0
    here = ("--submission", str(json.loads(submitted.stdout)[0]["submission"]))

    rows = list(csv.DictReader(io.StringIO(shared_installation.run("results", *here, "--format", "csv").stdout)))
    table = shared_installation.run("results", *here).stdout
    shared_installation.run("results", *here, "--format", "parquet", "--output", str(tmp_path / "results.parquet"))
    parquet = pyarrow.parquet.read_table(tmp_path / "results.parquet").to_pylist()

    assert sorted(row["name"] for row in rows) == sorted([test_radiographs[21].name, f"'{evil.name}"])
    assert table.count("done") == 2
    assert [row["id"] for row in parquet] == [int(row["id"]) for row in rows]
    for result, row in zip(shared_installation.results(*here), rows, strict=True):
        assert float(row["confidence"]) == pytest.approx(result["confidence"])
        assert float(row[result["label"]]) == pytest.approx(result["confidence"])
    label = rows[0]["label"]
    assert {result["label"] for result in shared_installation.results("--label", label)} == {label}
    assert shared_installation.results("--since", "1h", "--limit", "1")[0]["id"] == int(rows[0]["id"])
    assert shared_installation.results("--min-confidence", "1.0") == []


def test_check_says_what_is_well_and_what_is_not(shared_installation: Installation, tmp_path: Path) -> None:
    well = shared_installation.run("check", "--json")
    nothing = run("check", FRACTURE_HOME=str(tmp_path / "nothing"))

    assert well.returncode == 0, well.stdout
    assert all(entry["ok"] for entry in json.loads(well.stdout))
    assert nothing.returncode == 1
    assert "There is no database yet" in nothing.stdout
    assert not (tmp_path / "nothing").exists()


def broken_models(tmp_path: Path) -> Path:
    models = tmp_path / "models"
    shutil.copytree(PROJECT / "models", models)
    for card in models.glob("*/*/card.json"):
        document = json.loads(card.read_text())
        document["files"] = dict.fromkeys(document["files"], "0" * 64)
        card.write_text(json.dumps(document))
    return models


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        ("missing model", "There is no model bundle in"),
        ("wrong sha256 in the card", "differs from its card"),
        ("home is a file", "cannot be made or written"),
        ("port in use", "cannot be used"),
        ("unknown database", "only sqlite and postgresql are supported"),
        ("no database address", "is no database address"),
        ("database does not answer", "The database does not answer"),
        ("settings are wrong", "FRACTURE_PORT='eighty' is not a whole number. FRACTURE_SPEED is no setting."),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(mistake: str, words: str, tmp_path: Path) -> None:
    home = {"FRACTURE_HOME": str(tmp_path / "home"), "FRACTURE_PORT": str(free_port())}
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    environment = {
        "missing model": {"FRACTURE_MODELS": str(tmp_path / "empty")},
        "wrong sha256 in the card": {"FRACTURE_MODELS": str(broken_models(tmp_path))},
        "home is a file": {"FRACTURE_HOME": str(tmp_path / "file")},
        "port in use": {},
        "unknown database": {"FRACTURE_DATABASE_URL": "mysql://localhost/fractures"},
        "no database address": {"FRACTURE_DATABASE_URL": "somewhere"},
        "database does not answer": {"FRACTURE_DATABASE_URL": f"postgresql://127.0.0.1:{free_port()}/none"},
        "settings are wrong": {"FRACTURE_PORT": "eighty", "FRACTURE_SPEED": "high"},
    }[mistake]
    if mistake == "port in use":
        import socket

        with socket.create_server(("127.0.0.1", int(home["FRACTURE_PORT"]))):
            refused = run("up", **{**home, **environment})
    else:
        refused = run("up", **{**home, **environment})

    assert refused.returncode == 2, refused.stderr
    assert words in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not Settings(home=Path(home["FRACTURE_HOME"])).runtime.exists()
    assert len([line for line in refused.stderr.splitlines() if line.startswith("fracture-queue:")]) == 1


@pytest.mark.parametrize("command", ["results", "queue", "retry --failed", "models list", "submit pyproject.toml"])
def test_without_an_installation_commands_refuse_and_make_none(command: str, tmp_path: Path) -> None:
    refused = run(*command.split(), FRACTURE_HOME=str(tmp_path / "none"))

    assert refused.returncode == 2
    assert "There is no installation in" in refused.stderr
    assert not (tmp_path / "none").exists()


def test_help_of_every_command_loads_no_network_library() -> None:
    script = (
        "import sys; from cli.main import COMMANDS, fracture_queue\n"
        "from click.testing import CliRunner\n"
        "for name in COMMANDS:\n"
        "    result = CliRunner().invoke(fracture_queue, [name, '--help'])\n"
        "    assert result.exit_code == 0, (name, result.output)\n"
        "assert not {'tensorflow', 'keras', 'ai_edge_litert', 'flask'} & set(sys.modules), 'heavy imports'\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
