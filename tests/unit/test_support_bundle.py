"""The support bundle says what helps, and nothing that was planted for it to betray."""

from __future__ import annotations

import json
import stat
import zipfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import update

from cli.main import fracture_queue
from core.errors import ConfigurationError
from core.records.workers import Identity, beat
from core.settings import Settings
from core.support import collect, shown_settings, words_of
from core.tables import JobRow, Role
from tests.conftest import draw_radiograph
from tests.unit.web_fixtures import Site

SECRETS = ("zygmunt", "hush-hush")


def read(file: Path) -> dict[str, str]:
    with zipfile.ZipFile(file) as bundle:
        return {name: bundle.read(name).decode() for name in bundle.namelist()}


def make(file: Path) -> Any:
    return CliRunner().invoke(fracture_queue, ["support-bundle", str(file)])


def test_no_planted_name_and_no_secret_is_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.readiness.announced", lambda: 0)
    monkeypatch.setattr("worker.doctor.queue_checks.announced", lambda: 0)
    # given: a name wherever people can put one
    home = tmp_path / "zygmunt"
    site = Site(Settings(home=home))
    site.add_model("zygmunt-model")
    site.add_user("zygmunt", Role.ADMIN)
    headers = site.add_token("zygmunt-token", Role.ADMIN)
    site.upload(
        ("Zygmunt, wrist.png", draw_radiograph(1)),
        ("Zygmunt.txt", b"no image"),
        headers=headers,
        name="Zygmunt's study",
        tags="zygmunt",
    )
    site.fail("store-unavailable", "The original cannot be read in /home/zygmunt: hush-hush.")
    with site.database.transaction() as session:
        session.execute(update(JobRow).values(worker="worker@zygmunts-laptop:1"))
        beat(session, Identity("worker", "zygmunts-laptop", 1), engine="litert 2")
    (home / "logs" / "web.log").write_text("Zygmunt was here")
    (home / "secret_key").write_text("hush-hush")
    for name, value in {
        "HOME": str(home),
        "BROKER_URL": "redis://zygmunt:hush-hush@zygmunt.example:1/0",
        "SECRET_KEY": "hush-hush" * 8,
        "BROKER_PREFIX": "zygmunt:",
        "HOST": "zygmunt.example",
    }.items():
        monkeypatch.setenv(f"FRACTURE_{name}", value)
    # when
    file = tmp_path / "bundle.zip"
    done = make(file)
    # then
    assert done.exit_code == 0, done.output
    documents = read(file)
    for name, text in documents.items():
        assert not [secret for secret in SECRETS if secret in text.lower()], name
        assert str(tmp_path) not in text, name
    # and what helps is there
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    found = {name.removesuffix(".json"): json.loads(text) for name, text in documents.items() if name.endswith("json")}
    assert found["about"]["program"]
    assert found["packages"]["celery"]
    assert found["schema"]["found"] == found["schema"]["expected"]
    assert found["queue"]["failed"] == 2
    assert found["queue"]["workers"][0]["engine"] == "litert 2"
    assert found["failures"]["last"][0]["code"] == "store-unavailable"
    assert found["failures"]["last"][0]["words"] == "The store of originals cannot be read or written."
    assert found["failures"]["refused_at_the_door"] == {"unsupported": 1}
    assert {each["check"]: each["ok"] for each in found["readiness"]}["database"] is True
    assert {each["check"]: each["well"] for each in found["doctor"]}["originals"] is True
    assert found["settings"]["home"] == "home"
    assert found["settings"]["broker_url"] == "redis"
    assert found["settings"]["batch_size"] == 8
    # and nothing is overwritten
    again = make(file)
    assert isinstance(again.exception, ConfigurationError)
    assert "File exists" in str(again.exception)


def test_an_installation_that_is_broken_or_missing_has_one_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.readiness.announced", lambda: 0)
    found = collect(Settings(home=tmp_path / "none"))
    assert found["queue"] == {"away": "configuration", "words": "A setting is missing or wrong."}
    assert found["schema"]["found"] is None
    assert not (tmp_path / "none").exists()


def test_a_text_that_nobody_declared_harmless_is_not_shown() -> None:
    shown = shown_settings(Settings(home=Path("/srv/x"), secret_key="hush", host="somewhere"))
    assert (shown["secret_key"], shown["host"], shown["engine"]) == ("set", "set", "litert")
    assert (shown["inbox"], shown["models"], shown["store_url"]) == ("in home", "elsewhere", "file")
    assert words_of("no-such-code") == ""
