"""The benchmark runs for real, with little to do: every engine answers alike, the pipeline ends."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from benchmarks.pictures import Pictures
from benchmarks.pipeline import running_peer
from cli.commands.bench import bench
from core.bundle import Bundle
from core.settings import MODELS_FOLDER


def run(*arguments: str) -> dict[str, Any]:
    result = CliRunner().invoke(bench, [*arguments, "--json"], catch_exceptions=False)
    return dict(json.loads(result.stdout))


@pytest.mark.long
@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_engines_take_turns_and_answer_alike(engine: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("FRACTURE_MODELS", str(tmp_path))
    document = run("engines", "--rounds", "2", "--seconds", "0.1", "--engine", engine)
    (part,) = document["parts"]
    assert part["title"] == "Engines: plain-mobilenetv2"
    rates = {name: figure for name, figure in part["figures"].items() if figure["unit"] == "images/s"}
    assert {name.partition(",")[0] for name in rates} == {"litert", engine}
    assert all(len(figure["values"]) == 2 and min(figure["values"]) > 0 for figure in rates.values())
    assert part["figures"][f"litert / {engine}"]["median"] > 0
    assert part["figures"][f"{engine} differs by"]["median"] < 1e-4
    assert document["machine"]["cpu_count"] >= 1


@pytest.mark.long
def test_the_pipeline_is_measured_against_bare_loop_and_peer(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("FRACTURE_MODELS", str(tmp_path))
    (part,) = run("pipeline", "--rounds", "1", "--files", "40")["parts"]
    for system in ("system", "system on PostgreSQL and Redis"):
        for other in ("bare loop", "one task per image"):
            assert part["figures"][f"{system} / {other}"]["median"] > 0


@pytest.mark.long
def test_each_network_meets_a_peer_of_its_own(tmp_path: Path) -> None:
    # given two peers after each other in one process, as `bench pipeline` starts one for each bundle
    bundle, pictures = Bundle.open(next(MODELS_FOLDER.glob("fracture/*"))), Pictures(None)
    for number in range(2):
        place = tmp_path / str(number)
        with running_peer(place / "peer", bundle) as classify:
            # when each is given as many files, then each has answers of its own to all of them and to no others
            assert classify(pictures.write(place / "files", 2)) > 0
            with closing(sqlite3.connect(place / "peer" / "answers.db")) as connection:
                paths = [path for (path,) in connection.execute("SELECT path FROM answers ORDER BY path")]
        assert paths == [str(path) for path in sorted((place / "files").iterdir())]


@pytest.mark.long
def test_single_uploads_are_timed_beside_a_bulk_drop() -> None:
    (part,) = run("latency", "--rounds", "1", "--files", "60")["parts"]
    figures = {name: figure["median"] for name, figure in part["figures"].items()}
    assert 0 < figures["bare"] < figures["idle p50"] <= figures["idle p95"]
    assert figures["in bulk p50"] <= figures["in bulk p99"]
    assert figures["bulk beside uploads / alone"] > 0


@pytest.mark.long
def test_doors_are_timed_against_a_bare_copy() -> None:
    (part,) = run("ingest", "--rounds", "1", "--files", "200")["parts"]
    assert part["figures"]["inbox / bare"]["median"] > 0
    assert part["figures"]["API, 16 clients / bare"]["median"] > 0


@pytest.mark.long
def test_growth_of_cost_and_memory_is_measured() -> None:
    (part,) = run("growth", "--rounds", "1", "--files", "12")["parts"]
    assert part["figures"]["one image more, large / small drops"]["median"] != 0
    assert {"worker (classifying)", "web", "inbox", "beat", "redis"} <= set(part["figures"])
    assert all(figure["median"] > 0 for figure in part["figures"].values() if figure["unit"] == "MiB")


@pytest.mark.parametrize(
    ("rows", "sizes"), [(1_000, {"1000"}), pytest.param(30_000, {"10000", "30000"}, marks=pytest.mark.long)]
)
def test_queries_are_timed_on_both_databases(rows: int, sizes: set[str]) -> None:
    parts = run("query", "--rounds", "1", "--rows", str(rows))["parts"]
    assert [part["title"] for part in parts] == ["Queries: sqlite", "Queries: postgresql"]
    for part in parts:
        assert {name.rpartition(", ")[2] for name in part["figures"]} == sizes
        assert all(figure["median"] > 0 for figure in part["figures"].values())
