"""What the pages, the API and the command line ask of the database, timed on a small and on a large one."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from benchmarks.measured import Measured, Part
from core.database import Database
from core.records.figures import queue_figures
from core.records.filters import Filters
from core.records.history import history
from core.records.results import get_result, list_results
from core.settings import Settings
from core.tables import JobStatus, RadiographRow, Source

_PAGE = 50
#: Times in a row of which a turn takes the middle one: the first finds the disk's cache cold.
_REPEATS = 3

Query = Callable[[Session], Any]


def queries_of(session: Session) -> dict[str, Query]:
    """Return what is timed, by name; rows in the middle of the table are asked for too."""
    last = session.scalar(select(func.max(RadiographRow.id))) or 0
    middle = session.get_one(RadiographRow, max(1, last // 2))
    day = timedelta(days=1)

    def page(before_id: int | None = None, **wanted: Any) -> Query:
        return lambda session: list_results(session, Filters(**wanted), limit=_PAGE, before_id=before_id)

    return {
        "first page": page(),
        "page in the middle": page(before_id=middle.id),
        "label": page(label="spiral"),
        "label, page in the middle": page(before_id=middle.id, label="spiral"),
        "confidence of 0.6 and more": page(min_confidence=0.6),
        "confidence of 0.99 and more": page(min_confidence=0.99),
        "confidence below 0.2": page(max_confidence=0.2),
        "label and confidence": page(label="spiral", min_confidence=0.99),
        "one day": page(since=middle.received_at, until=middle.received_at + day),
        "label on one day": page(label="spiral", since=middle.received_at, until=middle.received_at + day),
        "source": page(source=Source.WEB),
        "failed": page(status=JobStatus.FAILED),
        "waiting (none)": page(status=JobStatus.WAITING),
        "sha256": page(sha256=middle.sha256),
        "name of one": page(name=middle.name),
        "part of all names": page(name="radiograph-0"),
        "part of one name in 10,000": page(name=middle.name[-8:-4]),
        "part of no name": page(name="no such name"),
        "one drop": page(submission=max(1, last // 2000)),
        "one radiograph": lambda session: get_result(session, middle.id),
        "queue figures": lambda session: queue_figures(session, Settings()),
        "queue, last hours": lambda session: history(session, hours=6, minutes_a_bar=5),
    }


def measure_queries(databases: Mapping[int, Database], *, rounds: int) -> Part:
    """Time every query on databases of several sizes, in turns.

    Args:
        databases: Filled ones by their number of radiographs.
        rounds: How often each query is timed on each.
    """
    milliseconds: dict[str, dict[int, list[float]]] = {}
    for turn in range(rounds + 1):
        for size, database in databases.items():
            with database.reading() as session:
                asked = queries_of(session)
            for name, query in asked.items():
                found = sorted(_milliseconds(database, query) for _ in range(_REPEATS))[_REPEATS // 2]
                if turn:
                    milliseconds.setdefault(name, {}).setdefault(size, []).append(found)
    figures = {
        f"{name}, {size}": Measured(f"{name}, {size}", "ms", tuple(values))
        for name, by_size in milliseconds.items()
        for size, values in by_size.items()
    }
    sizes = tuple(databases)
    rows = tuple(
        (name, *(figures[f"{name}, {size}"].shown() for size in sizes), _growth(figures, name, sizes))
        for name in milliseconds
    )
    dialect = next(iter(databases.values())).engine.dialect.name
    head = ("query", *(f"ms, {size:,} radiographs" for size in sizes), "growth")
    return Part(f"Queries: {dialect}", head, rows, (), figures)


def _growth(figures: Mapping[str, Measured], name: str, sizes: tuple[int, ...]) -> str:
    return f"{figures[f'{name}, {sizes[-1]}'].median / figures[f'{name}, {sizes[0]}'].median:.1f}"


def _milliseconds(database: Database, query: Query) -> float:
    with database.reading() as session:
        started = time.perf_counter()
        query(session)
        return (time.perf_counter() - started) * 1000
