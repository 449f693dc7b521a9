from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from core.errors import ConfigurationError, SchemaMismatch
from core.records.users import add_user, set_disabled, set_role
from core.settings import Settings
from core.tables import Role
from tests.unit.web_fixtures import Site, left_to_the_collector
from web.serve import address, open_server, refuse_open_door, serve

PROJECT = Path(__file__).resolve().parent.parent.parent


def test_a_port_in_use_is_named_with_its_setting(site: Site) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        with (
            left_to_the_collector(),
            pytest.raises(ConfigurationError, match=f"Port {port} on 127.0.0.1 is in use; set FRACTURE_PORT"),
        ):
            open_server(site.settings.with_changes(port=port))


def test_a_host_that_is_not_ours_is_named_with_its_setting(site: Site) -> None:
    with (
        left_to_the_collector(),
        pytest.raises(ConfigurationError, match=r"FRACTURE_HOST='192\.0\.2\.1' cannot be used"),
    ):
        open_server(site.settings.with_changes(host="192.0.2.1", secret_key="chosen"))


def test_a_host_that_nobody_knows_is_named_with_its_setting(site: Site) -> None:
    with pytest.raises(ConfigurationError, match=r"FRACTURE_HOST='no\.such\.host\.invalid' cannot be used"):
        open_server(site.settings.with_changes(host="no.such.host.invalid", secret_key="chosen"))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.168.1.4"])  # noqa: S104
def test_the_door_is_opened_to_other_machines_only_with_a_key_and_an_admin(site: Site, host: str) -> None:
    def complaint(secret_key: str = "") -> str:
        try:
            refuse_open_door(site.settings.with_changes(host=host, secret_key=secret_key), site.database)
        except ConfigurationError as error:
            return str(error)
        return ""

    key, change_me = "k" * 32, "change-me"
    assert "FRACTURE_SECRET_KEY" in complaint()
    assert "user add NAME --role admin" in complaint()
    assert "FRACTURE_SECRET_KEY" in complaint(change_me)
    assert "FRACTURE_SECRET_KEY" not in complaint(key)
    with site.database.transaction() as session:
        add_user(session, "vera", Role.VIEWER, "hash", actor="test")
    assert "user add NAME --role admin" in complaint(key)
    with site.database.transaction() as session:
        set_role(session, "vera", Role.ADMIN, actor="test")
    assert complaint(key) == ""
    assert "FRACTURE_SECRET_KEY" in complaint()
    with site.database.transaction() as session:
        set_disabled(session, "vera", disabled=True, actor="test")
    assert "user add NAME --role admin" in complaint(key)
    refuse_open_door(site.settings, site.database)  # this machine alone needs neither


def test_nothing_is_served_from_a_database_without_tables(settings: Settings) -> None:
    with pytest.raises(SchemaMismatch):
        serve(settings)


def test_the_address_is_one_that_a_browser_takes(settings: Settings) -> None:
    assert address(settings) == "http://127.0.0.1:8000/"
    assert address(settings.with_changes(host="::1")) == "http://[::1]:8000/"


def test_the_web_process_loads_no_network_library() -> None:
    program = (
        "import json, sys, web.app, web.serve, cli.commands.web;"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    ran = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=True)

    loaded = set(json.loads(ran.stdout))
    assert "flask" in loaded
    assert not loaded & {
        "tensorflow",
        "keras",
        "ai_edge_litert",
        "watchdog",
        "worker",
        "training",
        "sklearn",
        "matplotlib",
    }
