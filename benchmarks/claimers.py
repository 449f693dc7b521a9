"""What one, two and three claimers do on PostgreSQL with a network that does nothing, and what an image costs.

    python -m benchmarks.claimers [--jobs N] [--rounds N] [--save FILE]

Claims per second mean little on a shared machine; their ratios within one turn mean more, and so do seconds of
processor time, which do not count what other programs took. `benchmarks.scaling` reads what `--save` writes.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.synchronize import Barrier
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import URL, create_engine, text

from benchmarks.costs import measure_costs, processor_seconds
from benchmarks.databases import postgresql_server
from benchmarks.measured import Measured, Part, machine, ratio
from benchmarks.parts import as_text
from core.answers import Answer
from core.database import Database, parse_url
from core.errors import Unavailable
from core.records.claims import Outcome, claim_waiting, store_outcomes
from core.schema import migrate

CLAIMERS = (1, 2, 3)
#: What a claimer does: takes jobs and no more, or stores an answer for each as well, as a worker does.
CLAIMS, ANSWERS = "claims", "claims and answers"
LABELS = tuple(f"kind {number}" for number in range(10))
_LEASE_SECONDS = 3600.0
_PATIENCE = 3600.0
_FILL = """
INSERT INTO model_versions (id, name, version, task, sha256, card, installed, active, created_at)
    VALUES (1, 'nothing', '1.0.0', 'fracture-type', repeat('0', 64), '{}', true, true, now());
INSERT INTO radiographs (id, sha256, frame, media_type, width, height, bit_depth, bytes, storage_key, name, source, received_at)
    SELECT n, lpad(to_hex(n), 64, '0'), 0, 'image/png', 8, 8, 8, 64, 'ab/' || lpad(to_hex(n), 64, '0'), n || '.png', 'command', now()
    FROM generate_series(1, :jobs) AS n;
INSERT INTO jobs (radiograph_id, model_version_id, status, priority, attempts, deaths, deaths_alone, alone, available_at, created_at)
    SELECT n, 1, 'waiting', 0, 0, 0, 0, false, now(), now() FROM generate_series(1, :jobs) AS n;
"""  # noqa: E501


class Doubled(Exception):
    """A job was claimed twice, or not at all: the one thing that must never be."""


def main(arguments: Sequence[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.claimers", description=__doc__)
    parser.add_argument("--jobs", type=int, default=20_000, help="in each turn (default 20000)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each number of claimers (default 3)")
    parser.add_argument("--batch", type=int, default=8, help="jobs that a claim takes (default 8)")
    parser.add_argument("--claims-only", action="store_true", help="store no answers, measure no other costs")
    parser.add_argument("--save", type=Path, help="write the costs there, for `python -m benchmarks.scaling --costs`")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    chosen = parser.parse_args(arguments)
    with (
        TemporaryDirectory(prefix="fracture-claimers-") as folder,
        postgresql_server(Path(folder) / "pg", "filled") as (
            server,
            address,
        ),
    ):
        modes = (CLAIMS,) if chosen.claims_only else (CLAIMS, ANSWERS)
        part, seconds = _measure(parse_url(address), server, chosen.jobs, chosen.rounds, chosen.batch, modes)
        costs = None
        if not chosen.claims_only:
            costs = measure_costs(Path(folder), address, server.get_pid(), batch=chosen.batch, database_seconds=seconds)
    document = {"machine": machine(), "part": part.document(), "costs": None if costs is None else vars(costs)}
    if chosen.save and costs is not None:
        chosen.save.write_text(json.dumps({"machine": document["machine"], "costs": vars(costs)}, indent=1) + "\n")
    if chosen.json:
        print(json.dumps(document, indent=1))  # noqa: T201 - a command's own output
        return
    for line in as_text(part):
        print(line)  # noqa: T201
    for name, value in vars(costs).items() if costs else ():
        print(f"{name:32} {value:.4g}")  # noqa: T201


def _measure(filled: URL, server: Any, jobs: int, rounds: int, batch: int, modes: Sequence[str]) -> tuple[Part, float]:
    """Return the figures, and the server's processor seconds for one answered job."""
    database = Database(filled.render_as_string(hide_password=False))
    migrate(database)
    with database.engine.begin() as connection:
        for statement in filter(str.strip, _FILL.split(";")):
            connection.execute(text(statement), {"jobs": jobs} if ":jobs" in statement else {})
    database.dispose()
    found: dict[tuple[str, int], list[float]] = {(mode, count): [] for mode in modes for count in CLAIMERS}
    failures, server_seconds = 0, []
    for turn in range(rounds):
        for mode in modes:
            for count in CLAIMERS:
                with _copy(filled, f"turn_{turn}_{count}_{modes.index(mode)}") as url:
                    before = processor_seconds(server.get_pid())
                    rate, failed = _turn(url, mode, count, jobs, batch)
                    if mode == ANSWERS and count == 1:
                        server_seconds.append((processor_seconds(server.get_pid()) - before) / jobs)
                found[mode, count].append(rate)
                failures += failed
    figures = {
        f"{mode}, {count}": Measured(f"{mode}, {count}", "jobs/s", tuple(rates))
        for (mode, count), rates in found.items()
    }
    rows = []
    for mode in modes:
        one = figures[f"{mode}, 1"]
        for count in CLAIMERS:
            own = figures[f"{mode}, {count}"]
            figures[f"{mode}, {count} to 1"] = relative = ratio(f"{mode}, {count} to 1", own, one)
            rows.append((own.name, own.shown(0), relative.shown(2)))
    return Part(
        title=f"Claimers on PostgreSQL, {jobs} jobs a turn, {batch} a claim, a network that does nothing",
        head=("claimers", "jobs a second", "to one"),
        rows=tuple(rows),
        notes=(
            f"{failures} statements failed (serialisation, deadlock); every job was claimed once in every turn.",
            f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end: with more claimers than idle cores the "
            "ratio says how they share cores, not how they share the table.",
        ),
        figures=figures,
    ), min(server_seconds, default=0.0)


@contextmanager
def _copy(filled: URL, name: str) -> Iterator[str]:
    """Make a copy of the filled database for one turn."""
    engine = create_engine(filled.set(database="postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {filled.database}"))
        yield filled.set(database=name).render_as_string(hide_password=False)
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    engine.dispose()


def _turn(url: str, mode: str, count: int, jobs: int, batch: int) -> tuple[float, int]:
    """Let that many processes claim everything; return jobs a second and how many statements failed."""
    context = multiprocessing.get_context("spawn")
    together, answers = context.Barrier(count), context.SimpleQueue()
    processes = [context.Process(target=_claimer, args=(url, mode, batch, together, answers)) for _ in range(count)]
    for process in processes:
        process.start()
    told = [answers.get() for _ in processes]
    for process in processes:
        process.join(timeout=_PATIENCE)
    database = Database(url)
    with database.reading() as session:
        wrong = session.scalar(text("SELECT count(*) FROM jobs WHERE attempts <> 1"))
        answered = session.scalar(text("SELECT count(*) FROM predictions"))
    database.dispose()
    claimed = sum(each[2] for each in told)
    if wrong or claimed != jobs or answered != (jobs if mode == ANSWERS else 0):
        raise Doubled(f"{claimed} claims and {answered} answers for {jobs} jobs; {wrong} were not claimed exactly once")
    seconds = max(each[1] for each in told) - min(each[0] for each in told)
    return jobs / seconds, sum(each[3] for each in told)


def _claimer(url: str, mode: str, batch: int, together: Barrier, answers: Any) -> None:
    database, who = Database(url, synced=False), f"claimer:{os.getpid()}"
    scores = dict.fromkeys(LABELS, 0.1)
    answer = Answer(label=LABELS[0], confidence=0.1, scores=scores, prediction_set=LABELS[:1], flags=())
    with database.reading() as session:
        session.execute(text("SELECT 1"))
    together.wait(_PATIENCE)
    began, claimed, failed, claim = time.monotonic(), 0, 0, None
    while True:
        try:
            with database.transaction() as session:
                if claim is not None and mode == ANSWERS:
                    outcomes = [Outcome(job=job, answer=answer, engine="nothing") for job in claim.jobs]
                    store_outcomes(session, claim, outcomes, who)
                claim = claim_waiting(
                    session, model_version_ids=[1], limit=batch, lease_seconds=_LEASE_SECONDS, worker=who
                )
        except Unavailable:
            failed += 1
            continue
        if claim is None:
            break
        claimed += len(claim.jobs)
    answers.put((began, time.monotonic(), claimed, failed))
    database.dispose()


if __name__ == "__main__":
    main(sys.argv[1:])
