"""Pages of results: whatever the filters and however they are found, they are what looking at every row finds."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from sqlalchemy import insert, text

from benchmarks.many_rows import fill
from core.database import Database
from core.records import candidates as module
from core.records.filters import Filters
from core.records.results import Result, get_result, iterate_results, list_by_confidence, list_results
from core.tables import (
    ArrivalRadiographRow,
    ArrivalRow,
    JobRow,
    JobStatus,
    PredictionRow,
    RadiographRow,
    ReadingRow,
    ReviewKind,
    ReviewRow,
    Source,
    SubmissionRow,
)
from tests.conftest import add_model

_COUNT = 90
_START = datetime(2026, 3, 1, tzinfo=UTC)
_LABELS = ("spiral", "oblique", "hairline")


@pytest.fixture
def filled(database: Database) -> Database:
    """Three versions of two models and the binary one, each asked about some of the radiographs, in any state."""
    versions = [add_model(database, name) for name in ("a", "b")]
    versions.append(add_model(database, "fracture", task="fracture"))
    generator = np.random.default_rng(7)
    with database.transaction() as session:
        session.execute(
            insert(SubmissionRow),
            [
                {"name": "", "source": source, "priority": 0, "tags": [], "created_at": _START}
                for source in ("inbox", "web")
            ],
        )
        for number in range(1, _COUNT + 1):
            # Written in order but for minutes, as several writers do.
            at = _START + timedelta(hours=number, minutes=int(generator.integers(-25, 25)))
            _add(session, number, at, generator)
            for version in versions:
                if generator.random() < 0.7:
                    _ask(session, number, version, at, generator)
            if number in READINGS:
                _read(session, number, at)
    return database


def _add(session: Any, number: int, at: datetime, generator: np.random.Generator) -> None:
    source = str(generator.choice(["inbox", "web"], p=[0.9, 0.1]))
    digest = f"{number:064x}"
    session.execute(
        insert(RadiographRow).values(
            sha256=digest,
            frame=0,
            media_type="image/png",
            width=8,
            height=8,
            bit_depth=8,
            bytes=1,
            storage_key=digest,
            name=f"{'Wrist' if number % 3 else 'hip_100%'}-{number}.png",
            source=source,
            received_at=at,
        )
    )
    arrival = {"submission_id": 1 + (number % 40 == 0), "name": "x", "sha256": digest, "bytes": 1}
    session.execute(insert(ArrivalRow).values(**arrival, status="accepted", received_at=at))
    session.execute(insert(ArrivalRadiographRow).values(arrival_id=number, radiograph_id=number))


def _ask(session: Any, number: int, version: int, at: datetime, generator: np.random.Generator) -> None:
    status = str(generator.choice(["done", "failed", "waiting"], p=[0.8, 0.15, 0.05]))
    session.execute(
        insert(JobRow).values(
            radiograph_id=number,
            model_version_id=version,
            status=status,
            priority=0,
            available_at=at,
            created_at=at,
            finished_at=None if status == "waiting" else at,
        )
    )
    if status != "done":
        return
    session.execute(
        insert(PredictionRow).values(
            radiograph_id=number,
            model_version_id=version,
            label=str(generator.choice(_LABELS, p=[0.8, 0.17, 0.03])),
            confidence=float(generator.random()),
            prediction_set=[str(label) for label in _LABELS if generator.random() < 0.5],
            flags=["doubtful"] if generator.random() < 0.3 else ["un%like"] if generator.random() < 0.1 else [],
            engine="litert",
            waited_ms=0.0,
            decode_ms=0.0,
            infer_ms=0.0,
            created_at=at,
        )
    )


def _read(session: Any, number: int, at: datetime) -> None:
    kind, agreed = READINGS[number]
    said = {"radiograph_id": number, "reading": 1, "reviewer": "anna", "kind": kind}
    row = insert(ReviewRow).values(**said, label=None, note="", created_at=at).returning(ReviewRow.id)
    session.execute(insert(ReadingRow).values(**said, review_id=session.scalar(row), label=None, agreed=agreed))


#: What stands of the first reading of some radiographs, and whether it agrees.
READINGS: dict[int, tuple[ReviewKind, bool | None]] = {
    number: [
        (ReviewKind.LABELLED, True),
        (ReviewKind.LABELLED, False),
        (ReviewKind.UNSURE, None),
        (ReviewKind.WITHDRAWN, None),
    ][number % 4]
    for number in range(5, 60, 3)
}
_DAY = _START + timedelta(hours=_COUNT // 2)
_FILTERS = [
    Filters(),
    Filters(label="spiral"),
    Filters(label="hairline"),
    Filters(label="no such label"),
    Filters(label="spiral", model="b"),
    Filters(model="a/1.0.0", status=JobStatus.FAILED),
    Filters(model="fracture"),
    Filters(min_confidence=0.5),
    Filters(min_confidence=0.2, max_confidence=0.9),
    Filters(min_confidence=0.97),
    Filters(label="oblique", max_confidence=0.5),
    Filters(label="spiral", min_confidence=0.5, source=Source.WEB),
    Filters(status=JobStatus.DONE),
    Filters(status=JobStatus.WAITING),
    Filters(status=JobStatus.CANCELLED),
    Filters(source=Source.WEB),
    Filters(source=Source.COMMAND),
    Filters(since=_DAY),
    Filters(until=_DAY),
    Filters(since=_DAY, until=_DAY + timedelta(hours=24)),
    Filters(since=_DAY, label="spiral", status=JobStatus.DONE),
    Filters(until=_DAY, label="oblique"),
    Filters(since=_START + timedelta(days=900)),
    Filters(until=_START - timedelta(days=900)),
    Filters(name="HIP_1"),
    Filters(name="100%", label="spiral"),
    Filters(sha256=f"{7:064x}"),
    Filters(submission=1, label="spiral"),
    Filters(submission=2),
    Filters(flag="doubtful"),
    Filters(flag="doubt"),
    Filters(flag="un%like", label="spiral"),
    Filters(in_set="oblique"),
    Filters(in_set="hairline", max_confidence=0.5),
    Filters(reviewed=True),
    Filters(reviewed=False, label="spiral"),
    Filters(agreed=True),
    Filters(agreed=False, source=Source.INBOX),
]


def _matches(result: Result, filters: Filters, submission: int) -> bool:
    confidence = result.confidence
    kind, agreed = READINGS.get(result.id, (ReviewKind.WITHDRAWN, None))
    return all(
        (
            filters.label in (None, result.label),
            filters.min_confidence is None or (confidence is not None and confidence >= filters.min_confidence),
            filters.max_confidence is None or (confidence is not None and confidence <= filters.max_confidence),
            filters.status in (None, result.status),
            filters.source in (None, result.source),
            filters.since is None or result.received_at >= filters.since,
            filters.until is None or result.received_at < filters.until,
            filters.name is None or filters.name.lower() in result.name.lower(),
            filters.sha256 in (None, result.sha256),
            filters.submission in (None, submission),
            filters.flag is None or filters.flag in result.flags,
            filters.in_set is None or filters.in_set in result.prediction_set,
            filters.reviewed is None or filters.reviewed == (kind != ReviewKind.WITHDRAWN),
            filters.agreed in (None, agreed),
        )
    )


@pytest.mark.parametrize(
    ("database_url", "few"),
    [
        pytest.param("sqlite", 5_000, id="sqlite, all fetched", marks=pytest.mark.long),
        pytest.param("sqlite", 4, id="sqlite, some fetched"),
        pytest.param("sqlite", 0, id="sqlite, all walked", marks=pytest.mark.long),
        pytest.param("postgresql", 5_000, id="postgresql, all fetched"),
        pytest.param("postgresql", 4, id="postgresql, some fetched", marks=pytest.mark.long),
        pytest.param("postgresql", 0, id="postgresql, all walked"),
    ],
    indirect=["database_url"],
)
def test_every_filter_finds_what_looking_at_each_row_finds(
    filled: Database, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FEW", few)
    with filled.reading() as session:
        every = {
            model: [get_result(session, number, model=model) for number in range(_COUNT, 0, -1)]
            for model in {filters.model for filters in _FILTERS}
        }
        for filters in _FILTERS:
            expected = [one.id for one in every[filters.model] if _matches(one, filters, 1 + (one.id % 40 == 0))]
            assert [one.id for one in iterate_results(session, filters)] == expected, filters
            assert list(_by_pages(session, filters, 7)) == expected, filters
            sure = {one.id: one.confidence for one in every[filters.model] if one.confidence is not None}
            answered = sorted(
                (number for number in expected if number in sure), key=lambda number: (sure[number], number)
            )
            assert list(_by_confidence(session, filters, 7, doubt=True)) == answered, filters
            assert list(_by_confidence(session, filters, 7, doubt=False)) == answered[::-1], filters


def _by_pages(session: Any, filters: Filters, size: int) -> Iterator[int]:
    before_id = None
    while page := list_results(session, filters, limit=size, before_id=before_id):
        assert len(page) <= size
        yield from (one.id for one in page)
        before_id = page[-1].id


def _by_confidence(session: Any, filters: Filters, size: int, *, doubt: bool) -> Iterator[int]:
    after = None
    while page := list_by_confidence(session, filters, limit=size, doubt=doubt, after=after):
        assert len(page) <= size
        yield from (one.id for one in page)
        assert page[-1].confidence is not None
        after = module.Mark(page[-1].confidence, page[-1].id)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("filters", "index"),
    [
        (Filters(label="spiral"), "ix_predictions_label "),
        (Filters(label="spiral", min_confidence=0.0), "ix_predictions_label "),
        (Filters(min_confidence=0.0), "sqlite_autoindex_predictions_1"),
        (Filters(status=JobStatus.DONE), "ix_jobs_results"),
        (Filters(source=Source.INBOX), "ix_radiographs_source"),
        (Filters(), "INTEGER PRIMARY KEY"),
    ],
)
def test_frequent_matches_are_walked_along_an_index_without_sorting(
    database: Database, filters: Filters, index: str
) -> None:
    fill(database, 50)
    with database.reading() as session:
        query = module._walk(session, filters, [1], size=5, lowest=None, before_id=40)
        compiled = query.compile(database.engine, compile_kwargs={"literal_binds": True})
        plan = [row.detail for row in session.execute(text(f"EXPLAIN QUERY PLAN {compiled}"))]
    walks = [line for line in plan if line.startswith("SEARCH") and "merged" not in line]
    assert index in f"{walks[0]} ", plan
    assert not any("predictions" in line and "SCAN" in line for line in plan), plan
