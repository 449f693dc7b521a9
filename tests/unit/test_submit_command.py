"""`submit`: what is taken, and what it says of the answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.main import fracture_queue
from tests.conftest import draw_radiograph
from tests.unit.test_archives import tarred, zipped
from tests.unit.web_fixtures import Site

BINARY = ("fractured", "not-fractured")


@pytest.fixture
def here(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """An installation that asks both questions; what was answered before, `submit` need not wait for."""
    monkeypatch.setenv("FRACTURE_HOME", str(site.settings.home))
    site.add_model("whether", task="fracture", labels=BINARY)
    return site


def submit(*arguments: str | Path) -> Result:
    return CliRunner().invoke(fracture_queue, ["submit", *map(str, arguments)], catch_exceptions=False)


def test_the_suspicion_is_named_before_the_kind(here: Site, tmp_path: Path) -> None:
    for seed, label, confidence in ((1, "not-fractured", 0.9), (2, "fractured", 0.8)):
        here.take_in(seed)
        here.classify_only(2, label, confidence, BINARY)
        here.classify("spiral", 0.7)
        (tmp_path / f"wrist{seed}.png").write_bytes(draw_radiograph(seed))

    told = submit(tmp_path / "wrist1.png", tmp_path / "wrist2.png", "--wait")
    document = json.loads(submit(tmp_path / "wrist1.png", "--wait", "--json").stdout)

    assert told.output.splitlines() == [
        "wrist1.png: no fracture suspected, probability 0.10 (whether/1.0.0)",
        "wrist1.png: if fractured: spiral 0.70 (avulsion 0.15, greenstick 0.15; kind/1.0.0)",
        "wrist2.png: fracture suspected, probability 0.80 (whether/1.0.0)",
        "wrist2.png: spiral 0.70 (avulsion 0.15, greenstick 0.15; kind/1.0.0)",
        "2 of 2 files accepted, 2 here before.",
    ]
    assert [result["model"] for result in document[0]["results"]] == ["whether/1.0.0", "kind/1.0.0"]


def test_what_is_no_radiograph_is_said_to_be_not_judged(here: Site, tmp_path: Path) -> None:
    here.take_in(1)
    here.classify_only(2, "not-fractured", 0.9, BINARY)
    here.classify("spiral", 0.7, flags=("text",))
    (tmp_path / "list.png").write_bytes(draw_radiograph(1))

    told = submit(tmp_path / "list.png", "--wait").output

    assert "list.png: Not judged as a radiograph: text or a plot (spiral 0.70, kind/1.0.0; text)" in told


def test_a_job_that_failed_is_told_with_its_cause(here: Site, tmp_path: Path) -> None:
    here.take_in(1)
    here.fail("unreadable", "The picture data are cut off.")
    (tmp_path / "wrist.png").write_bytes(draw_radiograph(1))

    told = submit(tmp_path / "wrist.png", "--wait")

    assert told.exit_code == 1
    assert "wrist.png: The picture data are cut off. (unreadable)" in told.output


@pytest.mark.parametrize(("pack", "suffix"), [(zipped, "zip"), (tarred, "tar.gz")])
def test_archives_are_taken_file_by_file(here: Site, tmp_path: Path, pack: object, suffix: str) -> None:
    here.take_in(1, 2)
    here.classify()
    assert callable(pack)
    archive = tmp_path / f"study.{suffix}"
    archive.write_bytes(pack({"left.png": draw_radiograph(1), "b/right.png": draw_radiograph(2), "text.png": b"none"}))
    (tmp_path / "damaged.zip").write_bytes(b"PK\x03\x04 and no more")

    told = submit(archive, tmp_path / "damaged.zip", "--json")

    entries = json.loads(told.stdout)
    assert told.exit_code == 1
    assert [(entry["name"], entry["status"], (entry["error"] or {}).get("code")) for entry in entries] == [
        (f"{archive.name}/left.png", "accepted", None),
        (f"{archive.name}/b/right.png", "accepted", None),
        (f"{archive.name}/text.png", "rejected", "unsupported"),
        ("damaged.zip", "rejected", "unreadable"),
    ]
    assert len({entry["submission"] for entry in entries}) == 1
