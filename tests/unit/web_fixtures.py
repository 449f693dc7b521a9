"""The web application on a temporary installation, in words that make tests read as sentences."""

from __future__ import annotations

import atexit
import gc
import io
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from tempfile import mkdtemp
from typing import Any

from flask import Flask
from jinja2 import FileSystemBytecodeCache
from werkzeug.test import TestResponse

from core.accounts import hash_password
from core.answers import Answer
from core.database import Database, sqlite_file
from core.errors import BrokerUnavailable
from core.home import prepare_home
from core.records.claims import Claim, Outcome, claim_waiting, store_outcomes
from core.records.tokens import add_token
from core.records.users import add_user
from core.settings import Settings
from core.tables import ModelVersionRow, Role
from tests.conftest import add_model, copy_tables, draw_radiograph
from web.app import create_app
from web.parts import EXTENSION

PASSWORD = "correct horse battery"
#: What a browser says of a form on our own page.
OURS = {"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}
#: Templates are compiled once for all tests; that takes longer than what most tests ask for.
_COMPILED_TEMPLATES = FileSystemBytecodeCache(mkdtemp(prefix="fracture-test-templates-"))
atexit.register(shutil.rmtree, _COMPILED_TEMPLATES.directory)
LABELS = ("avulsion", "greenstick", "spiral")


@cache
def password_hash() -> str:
    """Hash `PASSWORD` once for all tests."""
    return hash_password(PASSWORD)


@contextmanager
def left_to_the_collector() -> Iterator[None]:
    """Files and sockets that a library leaves to the garbage collector are no failure of the test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()


class Site:
    """One installation: its application, a client, and a stand-in for the worker."""

    def __init__(self, settings: Settings, *, model: bool = True) -> None:
        prepare_home(settings)
        self.settings = settings
        self.database = Database(settings.database_url)
        file = sqlite_file(self.database.url)
        if file is not None and not file.exists():
            copy_tables(file)
        self.rung: list[int] = []
        self.broker_away = False
        self.app: Flask = create_app(settings, announce=self._announce)
        self.app.testing = True
        self.app.jinja_env.bytecode_cache = _COMPILED_TEMPLATES
        # The client then shows an unexpected exception as the 500 that a reader would see.
        self.app.config["PROPAGATE_EXCEPTIONS"] = False
        self.client = self.app.test_client()
        self.database.dispose()
        self.database = self.app.extensions[EXTENSION].database
        if model:
            self.add_model("kind")

    def add_model(self, name: str, *, task: str = "fracture-type", labels: tuple[str, ...] = LABELS) -> int:
        number = add_model(self.database, name, task=task)
        with self.database.transaction() as session:
            session.get_one(ModelVersionRow, number).card = {"labels": list(labels), "title": f"The {name} model"}
        return number

    def add_user(self, name: str, role: Role = Role.ADMIN) -> None:
        """Add somebody with the password `PASSWORD`; from the first one on everybody signs in."""
        with self.database.transaction() as session:
            add_user(session, name, role, password_hash(), actor="test")
        self.app.extensions[EXTENSION].door.is_open = False  # what every process notices within a second

    def add_token(self, name: str, role: Role = Role.REVIEWER) -> dict[str, str]:
        """Return the headers that a program sends."""
        with self.database.transaction() as session:
            key = add_token(session, name, role, actor="test")
        return {"Authorization": f"Bearer {key}"}

    def sign_in(self, name: str, password: str = PASSWORD, **fields: str) -> TestResponse:
        """Sign in with this site's client, as the page's form does."""
        return self.client.post("/sign-in", data={"name": name, "password": password, **fields}, headers=OURS)

    def upload(
        self, *files: tuple[str, bytes], to: str = "/api/v1/radiographs", headers: Any = None, **fields: str
    ) -> TestResponse:
        data = {**fields, "files": [(io.BytesIO(content), name) for name, content in files]}
        return self.client.post(to, data=data, content_type="multipart/form-data", headers=headers)

    def take_in(self, *seeds: int, name: str = "hand {}.png") -> list[int]:
        """Upload synthetic radiographs; return their ids."""
        answer = self.upload(*((name.format(seed), draw_radiograph(seed)) for seed in seeds))
        assert answer.status_code == 202, answer.text
        return [number for file in answer.json["files"] for number in file["radiographs"]]

    def claim(self, *models: int) -> Claim | None:
        with self.database.transaction() as session:
            return claim_waiting(
                session, model_version_ids=models or (1, 2, 3), limit=100, lease_seconds=60, worker="worker@test:1"
            )

    def classify(
        self,
        label: str = "spiral",
        confidence: float = 0.7,
        labels: tuple[str, ...] = LABELS,
        flags: tuple[str, ...] = (),
    ) -> None:
        """Answer all that waits, as a worker would."""
        rest = (1 - confidence) / (len(labels) - 1)
        scores = {each: confidence if each == label else rest for each in labels}
        answer = Answer(label, confidence, scores, (label,), flags or (("doubtful",) if confidence < 0.5 else ()))
        while claim := self.claim():
            self._store(claim, [Outcome(job=job, answer=answer, engine="litert") for job in claim.jobs])

    def classify_only(
        self, model: int, label: str, confidence: float, labels: tuple[str, ...], flags: tuple[str, ...] = ()
    ) -> None:
        """Answer what waits for one model."""
        scores = {each: confidence if each == label else (1 - confidence) / (len(labels) - 1) for each in labels}
        claim = self.claim(model)
        assert claim is not None
        answer = Answer(label, confidence, scores, (label,), flags)
        self._store(claim, [Outcome(job=job, answer=answer, engine="litert") for job in claim.jobs])

    def fail(self, code: str = "unreadable", words: str = "The picture data are cut off.") -> None:
        """Fail all that waits."""
        while claim := self.claim():
            self._store(claim, [Outcome(job=job, failure=(code, words)) for job in claim.jobs])

    def _store(self, claim: Claim, outcomes: list[Outcome]) -> None:
        with self.database.transaction() as session:
            store_outcomes(session, claim, outcomes, "worker@test:1")

    def _announce(self, jobs: int) -> None:
        if self.broker_away:
            raise BrokerUnavailable
        self.rung.append(jobs)
