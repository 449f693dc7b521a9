"""Known images in, right answers out: a whole installation in a temporary folder, for the day of installation.

The real command `up` is started on a home of its own, with this installation's models, engine and limits, so that
everything is tested as it will run: processes, Redis, database, inbox, page, network. With `here` the configured broker
and database are used as well: the broker under a key prefix of its own, PostgreSQL in a schema of its own, SQLite in a
folder beside the configured file. Real rows are never touched, and what was made is removed again.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sqlalchemy import text

from core.database import Database, sqlite_file
from core.errors import FractureError
from core.ports import free_port
from core.settings import PREFIX, Settings, sqlite_url
from core.storage import key_of
from worker.parent_death import die_with_parent

#: Longest time for one step; a first start on a slow disk takes the longest. Our choice.
STEP_SECONDS = 90.0
#: Two ways through the same network may differ by this much in a probability.
TOLERANCE = 1e-3
_ELSEWHERE = ("HOME", "PORT", "HOST", "INBOX", "STORE_URL", "DATABASE_URL", "BROKER_URL", "BROKER_PREFIX")


class SelftestFailed(FractureError):
    """The self-test failed."""

    code = "selftest"


@dataclass
class Report:
    """What was done, in order."""

    tell: Callable[[str], None]  # gets a line after each step
    steps: list[dict[str, Any]] = field(default_factory=list)

    @contextmanager
    def step(self, words: str) -> Iterator[None]:
        """Time one step and tell how it ended; an error is noted and goes on as `SelftestFailed`."""
        began = time.monotonic()
        problem = None
        try:
            yield
        except (FractureError, OSError, ValueError, LookupError, subprocess.SubprocessError) as error:
            problem = str(error) or type(error).__name__
            raise SelftestFailed(f"The step {words!r} failed: {problem}") from error
        finally:
            seconds = time.monotonic() - began
            self.steps.append({"step": words, "ok": problem is None, "seconds": round(seconds, 2), "error": problem})
            self.tell(f"{'ok    ' if problem is None else 'failed'} {seconds:5.1f} s  {words}")


def run_selftest(settings: Settings, environ: Mapping[str, str], report: Report, *, here: bool) -> None:
    """Do all steps and note them in `report`.

    Raises:
        SelftestFailed: Says which step failed and why.
    """
    with ExitStack() as stack:
        home = Path(tempfile.mkdtemp(prefix="fracture-selftest-"))
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        extra = {"FRACTURE_HOME": str(home), "FRACTURE_PORT": str(free_port()), "FRACTURE_SETTLE_SECONDS": "0.3"}
        if here:
            with report.step("reach the configured database and broker"):
                extra |= _apart(settings, stack)
        own = {name: value for name, value in environ.items() if name not in {PREFIX + word for word in _ELSEWHERE}}
        trial = _Trial(Settings.from_env({**own, **extra}), {**own, **extra})
        stack.callback(shutil.rmtree, trial.settings.runtime, ignore_errors=True)
        stack.callback(trial.kill)
        with report.step("start everything"):
            trial.start()
        pictures = {"inbox.png": known_image(1), "upload.png": known_image(-1)}
        with report.step("ask the model directly (classify)"):
            expected = trial.classify(pictures)
        with report.step("an image through the inbox is classified and moved to done/"):
            trial.drop("inbox.png", pictures["inbox.png"])
            by_inbox = trial.answer(pictures["inbox.png"])
            trial.wait(lambda: trial.is_done("inbox.png", pictures["inbox.png"]), "the file is not in done/, unchanged")
        with report.step("an image through the API is classified"):
            trial.upload("upload.png", pictures["upload.png"])
            by_api = trial.answer(pictures["upload.png"])
        with report.step("both answers are those of classify"):
            compare(by_inbox, expected["inbox.png"])
            compare(by_api, expected["upload.png"])
        with report.step("both originals are stored byte for byte"):
            trial.check_store(pictures)
        with report.step("stop everything"):
            trial.stop()


def known_image(lean: int) -> bytes:
    """Draw a bone, as PNG; `lean` of 1 or -1 makes two different pictures. No patient's."""
    across, along = np.linspace(-1, 1, 320)[np.newaxis, :], np.linspace(-1, 1, 420)[:, np.newaxis]
    shaft = np.exp(-((across - 0.2 * lean * along) ** 2) / 0.06) * (1 - 0.4 * np.exp(-((along - 0.1) ** 2) / 0.002))
    stream = io.BytesIO()
    Image.fromarray((20 + 200 * shaft).astype(np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def compare(answers: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Compare stored answers, by model, with those of `classify`.

    Raises:
        SelftestFailed: There is none, a label differs, or a probability by more than `TOLERANCE`.
    """
    if not answers:
        raise SelftestFailed("No model has answered.")
    for model, stored in answers.items():
        direct = expected.get(model)
        if direct is None:
            raise SelftestFailed(f"{model} has answered, which `classify` does not know.")
        if stored["label"] != direct["label"]:
            raise SelftestFailed(f"{model} said {stored['label']} in the queue and {direct['label']} directly.")
        apart = max(abs(stored["scores"].get(label, 0) - score) for label, score in direct["scores"].items())
        if not apart <= TOLERANCE:
            raise SelftestFailed(f"{model}: a probability differs by {apart:.2g}, more than {TOLERANCE:g}.")


class _Trial:
    """The installation under test, seen from outside: commands, folders, the API."""

    def __init__(self, settings: Settings, environment: Mapping[str, str]) -> None:
        self.settings, self._environment = settings, dict(environment)
        self._said = settings.home / "up.out"
        self._process: subprocess.Popen[bytes] | None = None
        # Never through a proxy that the environment names: the page is on this machine.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def start(self) -> None:
        parent = os.getpid()
        with self._said.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "cli.main", "up"],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=lambda: die_with_parent(parent),
            )
        self.wait(lambda: "is ready" in self._said.read_text(errors="replace"), "not everything answers")

    def wait(self, condition: Callable[[], bool], otherwise: str) -> None:
        until = time.monotonic() + STEP_SECONDS
        while not condition():
            if self._process is None or self._process.poll() is not None:
                raise SelftestFailed(f"`fracture-queue up` has ended: {self._last_words()}")
            if time.monotonic() > until:
                raise SelftestFailed(f"After {STEP_SECONDS:g} s {otherwise}; last words: {self._last_words()}")
            time.sleep(0.1)

    def classify(self, pictures: Mapping[str, bytes]) -> dict[str, dict[str, Any]]:
        folder = self.settings.home / "pictures"
        folder.mkdir()
        for name, data in pictures.items():
            (folder / name).write_bytes(data)
        done = subprocess.run(  # noqa: S603 - our own command
            [sys.executable, "-m", "cli.main", "classify", *(str(folder / name) for name in pictures), "--json"],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=STEP_SECONDS,
        )
        if done.returncode:
            raise SelftestFailed(f"`fracture-queue classify` says: {done.stderr.strip()[-500:]}")
        found: dict[str, dict[str, Any]] = {name: {} for name in pictures}
        for entry in json.loads(done.stdout):
            found[entry["name"]][entry["model"]] = entry
        return found

    def drop(self, name: str, data: bytes) -> None:
        (self.settings.inbox / name).write_bytes(data)

    def upload(self, name: str, data: bytes) -> None:
        boundary = secrets.token_hex(16)
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
        body = head.encode() + data + f"\r\n--{boundary}--\r\n".encode()
        answer = self._ask("radiographs", body, f"multipart/form-data; boundary={boundary}")
        if [file["status"] for file in answer["files"]] != ["accepted"]:
            raise SelftestFailed(f"The upload was not accepted: {answer['files']}.")

    def answer(self, data: bytes) -> dict[str, Any]:
        """Wait until every active model has ended; return their answers by name."""
        digest = hashlib.sha256(data).hexdigest()
        models: list[dict[str, Any]] = []

        def ended() -> bool:
            listed = self._ask(f"radiographs?sha256={digest}")["radiographs"]
            models[:] = self._ask(f"radiographs/{listed[0]['id']}")["models"] if listed else []
            return bool(models) and all(model["status"] not in ("waiting", "running") for model in models)

        self.wait(ended, "there is no answer")
        for model in models:
            if model["status"] != "done":
                raise SelftestFailed(f"{model['model']} ended as {model['status']}: {model['error']}.")
        return {model["model"]: model for model in models}

    def is_done(self, name: str, data: bytes) -> bool:
        path = self.settings.done / name
        return path.is_file() and path.read_bytes() == data

    def check_store(self, pictures: Mapping[str, bytes]) -> None:
        for name, data in pictures.items():
            digest = hashlib.sha256(data).hexdigest()
            if (self.settings.home / "store" / key_of(digest)).read_bytes() != data:
                raise SelftestFailed(f"The stored original of {name} differs from what was sent.")

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            code = self._process.wait(timeout=STEP_SECONDS)
            if code:
                raise SelftestFailed(f"`fracture-queue up` ended with exit code {code}: {self._last_words()}")

    def kill(self) -> None:
        """End it whatever happened; its children ask the kernel to die with it."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=self.settings.stop_seconds + 10)
            self._process.kill()
            self._process.wait()

    def _ask(self, path: str, body: bytes | None = None, kind: str = "") -> dict[str, Any]:
        address = f"http://127.0.0.1:{self.settings.port}/api/v1/{path}"
        request = urllib.request.Request(address, body, {"Content-Type": kind} if kind else {})
        try:
            with self._opener.open(request, timeout=STEP_SECONDS) as answer:
                document: dict[str, Any] = json.load(answer)
        except urllib.error.HTTPError as error:
            raise SelftestFailed(f"{path} was answered with {error.code}: {error.read(500)!r}.") from error
        return document

    def _last_words(self) -> str:
        return " ".join(self._said.read_text(errors="replace").split())[-500:] or "none"


def _apart(settings: Settings, stack: ExitStack) -> dict[str, str]:
    """Return settings that use the configured database and broker, apart from real rows and keys, and clean up."""
    mark = f"selftest_{secrets.token_hex(6)}"
    extra: dict[str, str] = {}
    database = Database(settings.database_url)
    stack.callback(database.dispose)
    file = sqlite_file(database.url)
    if file is not None:
        beside = file.absolute().with_name(f".{mark}")
        beside.mkdir()
        stack.callback(shutil.rmtree, beside, ignore_errors=True)
        extra["FRACTURE_DATABASE_URL"] = sqlite_url(beside / file.name)
    else:
        with database.transaction() as session:
            session.execute(text(f"CREATE SCHEMA {mark}"))
        stack.callback(_drop_schema, database, mark)
        options = f"{database.url.query.get('options', '')} -csearch_path={mark}".strip()
        url = database.url.update_query_dict({"options": options})
        extra["FRACTURE_DATABASE_URL"] = url.render_as_string(hide_password=False)
    if not settings.uses_embedded_redis:
        extra |= {"FRACTURE_BROKER_URL": settings.broker_url, "FRACTURE_BROKER_PREFIX": f"{mark}:"}
        stack.callback(_remove_keys, settings.broker_url, f"{mark}:")
    return extra


def _drop_schema(database: Database, name: str) -> None:
    with database.transaction() as session:
        session.execute(text(f"DROP SCHEMA {name} CASCADE"))


def _remove_keys(broker_url: str, prefix: str) -> None:
    """Remove what the trial left in a Redis; another broker's queues have the prefix and are few."""
    if broker_url.startswith("redis"):
        from redis import Redis

        with Redis.from_url(broker_url.replace("redis+socket://", "unix://")) as client:
            for key in client.scan_iter(f"{prefix}*"):
                client.delete(key)
