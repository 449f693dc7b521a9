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
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import func, select

from core.database import Database
from core.home import prepare_home
from core.ports import free_port
from core.records.tokens import add_token
from core.records.users import add_user
from core.settings import Settings
from core.storage import SAFE_AGE_SECONDS, FolderStore
from core.tables import ArrivalRow, Base, JobRow, RadiographRow, Role
from tests.conftest import PROJECT, add_model, copy_tables, draw_radiograph, wait_until
from tests.integration.dying import INTAKE
from worker.doctor.ailments import Premises
from worker.doctor.examination import examine

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
        self.port = free_port()
        self.settings = Settings(home=home, port=self.port, max_file_bytes=2**20)
        self.environment = {
            **os.environ,
            "FRACTURE_HOME": str(home),
            "FRACTURE_PORT": str(self.port),
            "FRACTURE_MAX_FILE_BYTES": str(2**20),
        }
        prepare_home(self.settings)
        copy_tables(home / "fracture.db")
        self.database = Database(self.settings.database_url)
        add_model(self.database, "kind")
        self.start()

    def start(self, command: Sequence[str] = COMMAND) -> None:
        self.process = subprocess.Popen(command, env=self.environment, cwd=PROJECT, stderr=subprocess.PIPE, text=True)
        wait_until(self.answers, within_seconds=30, what="the server answers")

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def count(self, table: type[Base]) -> int:
        with self.database.reading() as session:
            return session.scalar(select(func.count()).select_from(table)) or 0

    def stored(self) -> list[Path]:
        return [path for path in (self.settings.home / "store").rglob("*") if path.is_file()]

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        kind = {"Content-Type": "multipart/form-data; boundary=x"} if body else {}
        try:
            connection.request(method, path, body, {**kind, **(headers or {})})
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
        server.kill()
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
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(half_an_upload())

    assert server.ask("GET", "/results")[0] == 200
    assert server.count(ArrivalRow) == 0
    assert server.stored() == []


def test_a_server_that_is_killed_in_the_middle_of_an_upload_has_kept_nothing_of_it(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(half_an_upload())
        assert server.ask("GET", "/healthz")[0] == 200  # it has seen the upload by now
        server.kill()

    assert server.count(ArrivalRow) == 0
    assert server.stored() == []
    server.start()
    assert server.ask("POST", "/api/v1/radiographs", form(("whole.png", draw_radiograph(1))))[0] == 202


def test_a_server_that_is_killed_between_storing_and_answering_shows_nothing_half_done(server: Server) -> None:
    # given: each of these uploads kills the server
    uploads = [form((f"{number}.png", draw_radiograph(number))) for number in range(len(INTAKE))]
    for upload, step in zip(uploads, INTAKE, strict=True):
        server.kill()
        server.start([sys.executable, "-m", "tests.integration.dying", "web", step])
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            server.ask("POST", "/api/v1/radiographs", upload)
        server.process.communicate(timeout=30)
        assert server.process.returncode == -signal.SIGKILL, step
    # then: what was committed is whole, and what was not leaves no more than files that the doctor finds
    assert [server.count(table) for table in (ArrivalRow, RadiographRow, JobRow)] == [2, 2, 2]
    long_ago = time.time() - 2 * SAFE_AGE_SECONDS
    for path in server.stored():
        os.utime(path, (long_ago, long_ago))
    store = FolderStore.at(server.settings.store_url)
    verdicts = list(examine(Premises(server.settings, server.database, store, "test", deep=True), fix=True))
    counts = {verdict.check: verdict.found.count for verdict in verdicts if verdict.found}
    assert counts["half-written files"] == 1
    assert counts["forgotten files"] == 2
    assert "originals" not in counts
    assert len(server.stored()) == 2
    # when: their senders try again
    server.start()
    answers = [json.loads(server.ask("POST", "/api/v1/radiographs", upload)[1])["files"][0] for upload in uploads]
    # then
    assert [answer["status"] for answer in answers] == ["accepted"] * len(uploads)
    assert [answer["duplicate"] for answer in answers] == [False] * (len(uploads) - 2) + [True, True]
    assert server.count(RadiographRow) == server.count(JobRow) == len(server.stored()) == len(uploads)


def half_an_upload() -> bytes:
    """Write the head of a request and half of its body."""
    body = form(("half.png", draw_radiograph(1)))
    head = f"POST /api/v1/radiographs HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"Content-Type: multipart/form-data; boundary=x\r\n\r\n" + body[: len(body) // 2]


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


def run(environment: dict[str, str], *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command of ours to its end."""
    return subprocess.run(
        [sys.executable, "-m", "cli.main", *arguments],
        env=environment,
        cwd=PROJECT,
        input=given,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_first_user_shuts_the_door_of_a_running_server(server: Server) -> None:
    passed_on = {"X-Forwarded-For": "10.0.0.7"}
    assert server.ask("GET", "/api/v1/queue")[0] == 200
    assert server.ask("GET", "/api/v1/queue", headers=passed_on)[0] == 403  # waitress lets us see them

    added = run(server.environment, "user", "add", "anna", "--role", "admin", "--password-stdin", given="x" * 12)
    assert added.returncode == 0, added.stderr
    with server.database.transaction() as session:
        key = add_token(session, "scanner", Role.REVIEWER, actor="test")

    wait_until(lambda: server.ask("GET", "/api/v1/queue")[0] == 401, within_seconds=20, what="the door is shut")
    bearer = {"Authorization": f"Bearer {key}"}
    assert server.ask("GET", "/api/v1/queue", headers={**bearer, **passed_on})[0] == 200
    assert server.ask("POST", "/api/v1/radiographs", form(("a.png", draw_radiograph(1))), bearer)[0] == 202
    _, _, log = server.stop()
    assert key not in log
    assert "Traceback" not in log


def test_other_machines_are_let_in_only_where_somebody_can_sign_in(server: Server) -> None:
    server.stop()
    elsewhere = {**server.environment, "FRACTURE_HOST": "0.0.0.0"}  # noqa: S104
    refused = run(elsewhere, "web")
    assert refused.returncode == 2
    assert "user add NAME --role admin" in refused.stderr
    assert "FRACTURE_SECRET_KEY" in refused.stderr
    assert "Traceback" not in refused.stderr

    with server.database.transaction() as session:
        add_user(session, "anna", Role.ADMIN, "hash", actor="test")
    server.process = subprocess.Popen(
        COMMAND, env={**elsewhere, "FRACTURE_SECRET_KEY": "k" * 32}, cwd=PROJECT, stderr=subprocess.PIPE, text=True
    )
    wait_until(server.answers, within_seconds=30, what="the server answers")
    assert server.ask("GET", "/api/v1/queue")[0] == 401
    assert b"Sign in" in server.ask("GET", "/sign-in")[1]
    _, code, log = server.stop()
    assert code == 0, log
