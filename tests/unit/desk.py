"""An inbox with everything behind it, and a clock that a test moves."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select

from core.database import Database
from core.home import prepare_home
from core.ingest import Ingest
from core.records.claims import Outcome, store_outcomes
from core.settings import Settings
from core.store import open_store
from core.tables import ArrivalRow, ModelVersionRow
from tests.fakes import claim, some_answer
from worker.inbox import Inbox

SETTLE = 1.0


class Clock:
    """Stands in for the module `time` where only its monotonic clock is used."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def stand_in(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Be the inbox's clock."""
        for module in ("worker.inbox", "worker.waiting"):
            monkeypatch.setattr(f"{module}.time", self)


class Desk:
    """An inbox with everything behind it, and a clock that the test moves."""

    def __init__(self, settings: Settings, database: Database, clock: Clock | None = None) -> None:
        prepare_home(settings)
        self.settings, self.database, self.clock = settings, database, clock or Clock()
        self.rung: list[int] = []
        assert settings.store_path is not None
        self.ingest = Ingest(settings, database, open_store(settings), self.rung.append)
        self.inbox = Inbox(settings, database, self.ingest)

    def restart(self) -> int:
        """The process died; another one starts. Return how many files it finds that were not recorded."""
        self.inbox = Inbox(self.settings, self.database, self.ingest)
        return self.inbox.recover()

    def drop(self, name: str, data: bytes) -> Path:
        path = self.settings.inbox / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def look(self, seconds: float = 0.0) -> int:
        """Let time pass, then scan and take what is ready; return how many files."""
        self.clock.now += seconds
        self.inbox.scan()
        return self.inbox.claim_ready()

    def take(self) -> int:
        """Take and record everything that lies still; return how many files were recorded."""
        for _ in range(3):
            self.look(10 * SETTLE)
        return self.inbox.record()

    def classify(self, failure: tuple[str, str] | None = None) -> None:
        """Be the worker: end everything that waits."""
        with self.database.reading() as session:
            models = list(session.scalars(select(ModelVersionRow.id)))
        while taken := claim(self.database, *models):
            answer = None if failure else some_answer()
            with self.database.transaction() as session:
                outcomes = [Outcome(job=job, answer=answer, failure=failure, engine="fake") for job in taken.jobs]
                store_outcomes(session, taken, outcomes, "worker@test:1")

    def arrivals(self) -> list[ArrivalRow]:
        with self.database.reading() as session:
            return list(session.scalars(select(ArrivalRow).order_by(ArrivalRow.id)))

    @staticmethod
    def below(folder: Path) -> list[str]:
        return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())

    def in_processing(self) -> list[Path]:
        return [path for path in self.settings.processing.rglob("*") if path.name != ".lock"]
