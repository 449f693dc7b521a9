"""The real server process: it starts, answers, says no in sentences, and stops at once."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from core.database import Database
from core.home import prepare_home
from core.schema import migrate
from core.settings import Settings
from core.tables import ArrivalRow
from tests.conftest import PROJECT, add_model, draw_radiograph, wait_until

COMMAND = [sys.executable, "-m", "cli.main", "web"]


def form(*files: tuple[str, bytes]) -> bytes:
    """Write a multipart body with the boundary `x`."""
    parts = [
        f'--x\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'.encode() + content + b"\r\n"
        for name, content in files
    ]
    return b"".join([*parts, b"--x--\r\n"])


class Server:
    """`fracture-queue web` on a temporary installation."""

    def __init__(self, home: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = int(probe.getsockname()[1])
        self.settings = Settings(home=home, port=self.port, max_file_bytes=2**20)
        self.environment = {
            **os.environ,
            "FRACTURE_HOME": str(home),
            "FRACTURE_PORT": str(self.port),
            "FRACTURE_MAX_FILE_BYTES": str(2**20),
        }
        prepare_home(self.settings)
        self.database = Database(self.settings.database_url)
        migrate(self.database)
        add_model(self.database, "kind")
        self.process = subprocess.Popen(COMMAND, env=self.environment, cwd=PROJECT, stderr=subprocess.PIPE, text=True)
        wait_until(self.answers, within_seconds=30, what="the server answers")

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body, {"Content-Type": "multipart/form-data; boundary=x"} if body else {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def answers(self) -> bool:
        try:
            return self.ask("GET", "/healthz")[0] == 200
        except ConnectionRefusedError:
            return False

    def stop(self) -> tuple[float, int, str]:
        """Stop politely; return the seconds that took, the exit code and the log."""
        start = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        _, log = self.process.communicate(timeout=20)
        return time.monotonic() - start, self.process.returncode, log


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "home")
    yield server
    if server.process.poll() is None:
        server.process.kill()
        server.process.communicate()
    server.database.dispose()


def test_it_takes_an_upload_and_stops_at_once(server: Server) -> None:
    status, answer = server.ask("POST", "/api/v1/radiographs", form(("Jane Doe.png", draw_radiograph(1))))
    assert status == 202
    assert json.loads(answer)["files"][0]["status"] == "accepted"

    seconds, code, log = server.stop()

    # The server waits up to five seconds for requests in hand: it had none.
    assert (seconds < 5, code) == (True, 0), f"{seconds:.1f} s, {log}"
    assert f"The page is at http://127.0.0.1:{server.port}/" in log
    assert "Jane" not in log
    assert "Traceback" not in log


def test_a_second_server_on_the_same_port_says_so_and_ends_with_2(server: Server) -> None:
    second = subprocess.run(COMMAND, env=server.environment, cwd=PROJECT, capture_output=True, text=True, timeout=60)

    assert second.returncode == 2
    assert f"Port {server.port} on 127.0.0.1 is in use; set FRACTURE_PORT to another one." in second.stderr
    assert "Traceback" not in second.stderr


def test_a_client_that_goes_away_in_the_middle_leaves_nothing_behind(server: Server) -> None:
    body = form(("half.png", draw_radiograph(1)))
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        head = f"POST /api/v1/radiographs HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
        connection.sendall(
            head.encode() + b"Content-Type: multipart/form-data; boundary=x\r\n\r\n" + body[: len(body) // 2]
        )

    assert server.ask("GET", "/results")[0] == 200
    with server.database.reading() as session:
        assert session.scalar(select(func.count()).select_from(ArrivalRow)) == 0
    assert not [path for path in (server.settings.home / "store").rglob("*") if path.is_file()]


def test_an_upload_that_is_too_large_is_answered_with_a_sentence(server: Server) -> None:
    status, answer = server.ask("POST", "/api/v1/radiographs", form(("huge.png", bytes(6 * 2**20))))

    assert status == 413
    assert json.loads(answer)["detail"].endswith("send fewer at once.")


def test_readiness_names_the_broker_that_is_missing_in_time_for_a_probe(server: Server) -> None:
    start = time.monotonic()
    status, answer = server.ask("GET", "/readyz")

    assert status == 503
    assert "broker" in json.loads(answer)["reasons"][0]
    assert time.monotonic() - start < 10
