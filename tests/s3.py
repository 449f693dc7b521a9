"""A real S3-compatible server in a process of its own: moto's, which remembers across kills by its recording.

`python -m tests.s3 PORT FILE` serves. What was recorded in FILE is done again first, on a second port, so that whoever
asks at PORT never meets a half-filled bucket.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import obstore
from obstore.store import S3Store

from core.ports import free_port
from core.settings import Settings
from tests.conftest import PROJECT, wait_until

BUCKET, PREFIX = "radiographs", "test/originals"
ACCOUNT = {"store_access_key": "fractures", "store_secret_key": "of the test"}
_PATIENCE = 90


class S3Server:
    """Can be killed, started again with what it held, and made to hang."""

    def __init__(self, folder: Path) -> None:
        self._recording, self._log = folder / "s3.recording", folder / "s3.log"
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def settings(self, home: Path, **changes: object) -> Settings:
        told = {"store_url": f"s3://{BUCKET}/{PREFIX}", "store_endpoint": self.endpoint, **ACCOUNT, **changes}
        return Settings(home=home).with_changes(**told)

    @property
    def environment(self) -> dict[str, str]:
        told = {"store_url": f"s3://{BUCKET}/{PREFIX}", "store_endpoint": self.endpoint, **ACCOUNT}
        return {f"FRACTURE_{name.upper()}": value for name, value in told.items()}

    def bucket(self) -> S3Store:
        """The bucket past our store, to look into it and to damage it."""
        return S3Store(
            BUCKET,
            prefix=PREFIX,
            endpoint=self.endpoint,
            access_key_id="somebody",
            secret_access_key="else",
            client_options={"allow_http": True},
        )

    def names(self) -> list[str]:
        return sorted(meta["path"] for page in obstore.list(self.bucket()) for meta in page)

    def start(self) -> None:
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.s3", str(self.port), str(self._recording)],
                cwd=PROJECT,
                env={**os.environ, "PYTHONPATH": str(PROJECT)},
                stdout=output,
                stderr=output,
            )
        wait_until(self.answers, within_seconds=_PATIENCE, what="the S3 server answers")

    def answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
        except OSError:
            return False
        return True

    def kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(timeout=_PATIENCE)

    def hang(self, hangs: bool = True) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP if hangs else signal.SIGCONT)


def _serve(port: int, recording: str) -> None:
    os.environ |= {"MOTO_RECORDER_FILEPATH": recording, "MOTO_ENABLE_RECORDING": "1"}
    os.environ |= {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    from moto.moto_api import recorder
    from moto.moto_api._internal.recorder.models import Recorder
    from moto.server import ThreadedMotoServer

    record, lock = Recorder._record_request, threading.Lock()

    def one_at_a_time(self: Recorder, *arguments: Any) -> None:  # lines of two threads would mix
        with lock:
            record(self, *arguments)

    Recorder._record_request = one_at_a_time  # type: ignore[method-assign, assignment]
    private = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    private.start()
    _, private_port = private.get_host_and_port()
    if Path(recording).exists():
        recorder.replay_recording(f"http://127.0.0.1:{private_port}")
    else:
        _make_bucket(private_port)
    socket.create_server(("127.0.0.1", port)).close()  # fails where somebody has the port; moto would only print it
    ThreadedMotoServer("127.0.0.1", port, verbose=False).start()
    while True:
        time.sleep(3600)


def _make_bucket(port: int) -> None:
    who = "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=x"
    made = urllib.request.Request(f"http://127.0.0.1:{port}/{BUCKET}", method="PUT", headers={"Authorization": who})
    urllib.request.urlopen(made).close()  # noqa: S310 - our own server


if __name__ == "__main__":
    _serve(int(sys.argv[1]), sys.argv[2])
