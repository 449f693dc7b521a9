"""How many known copies are linked, and how many others: `python -m benchmarks.look_alikes [--data DIR] [--every N]`.

The radiographs of both data sets go through intake, hash, look-up and check as a worker does it, in a temporary
installation on SQLite. What counts as a copy is the manifests' `duplicate_id`, found with local features, which sees
turned, mirrored and strongly cropped copies too. `docs/plausibility.md` holds the table.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from collections import Counter
from itertools import combinations
from pathlib import Path

from sqlalchemy import select

from benchmarks.plausibility import DATA, SETS
from core.database import Database
from core.home import prepare_home
from core.images import decode
from core.ingest import Incoming, Ingest
from core.likeness import fingerprint
from core.records.intake import Submission
from core.records.likenesses import record_fingerprints
from core.schema import migrate
from core.settings import Settings
from core.store import open_store
from core.tables import JobRow, JobStatus, LookAlikeRow, RadiographRow, Source
from worker.look_alikes import find_look_alikes
from worker.main import register_installed

_AT_ONCE = 50


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Measure which known copies are linked.")
    parser.add_argument("--data", type=Path, default=DATA, help="folder that holds bone-break/ and fracture-binary/")
    parser.add_argument("--every", type=int, default=1, help="look at every so manieth group of copies")
    asked = parser.parse_args()
    print("| data set | radiographs | known pairs | linked | other pairs linked | ms each |")  # noqa: T201
    print("| --- | ---: | ---: | ---: | ---: | ---: |")  # noqa: T201
    for name in SETS:
        groups = read_groups(asked.data / name, asked.every)
        began = time.process_time()
        links, by_path = linked(list(groups))
        spent = 1000 * (time.process_time() - began) / len(groups)
        known = known_pairs(groups)
        found = {tuple(sorted((by_path[one], by_path[other]))) for one, other in links}
        right, others = len(known & found), sorted(found - known)
        share = f"{right / max(1, len(known)):.0%}"
        print(f"| {name} | {len(groups)} | {len(known)} | {right} ({share}) | {len(others)} | {spent:.0f} |")  # noqa: T201
        for one, other in others:
            print(f"<!-- {one} | {other} -->")  # noqa: T201


def read_groups(folder: Path, every: int) -> dict[Path, str]:
    """Return the files of a data set, each with the name of its group of copies."""
    with (folder / "MANIFEST.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    chosen = sorted({row["duplicate_id"] for row in rows})[::every]
    wanted = set(chosen)
    # Byte-identical files are one radiograph anyway.
    once = {row["sha256"]: row for row in rows if row["duplicate_id"] in wanted}
    return {folder / row["path"]: row["duplicate_id"] for row in once.values()}


def known_pairs(groups: dict[Path, str]) -> set[tuple[str, ...]]:
    """Return the pairs of copies, by the files' names."""
    sizes = Counter(groups.values())
    members: dict[str, list[str]] = {}
    for path, group in groups.items():
        if sizes[group] > 1:
            members.setdefault(group, []).append(str(path))
    return {tuple(sorted(pair)) for names in members.values() for pair in combinations(names, 2)}


def linked(paths: list[Path]) -> tuple[list[tuple[int, int]], dict[int, str]]:
    """Take files in and look at all of them; return the links, and each radiograph's file."""
    with tempfile.TemporaryDirectory(prefix="fq-alike-") as folder:
        settings = Settings(home=Path(folder) / "home", memory_limit_mib=0)
        prepare_home(settings)
        database = Database(settings.database_url, synced=False)
        migrate(database)
        register_installed(settings, database, "bench")
        store = open_store(settings)
        ingest = Ingest(settings, database, store, lambda _: None)
        for start in range(0, len(paths), _AT_ONCE):
            files = []
            for path in paths[start : start + _AT_ONCE]:
                data = path.read_bytes()
                files.append(Incoming(name=str(path), data=data, size=len(data)))
            ingest.take(Submission(source=Source.INBOX), files)
        with database.reading() as session:
            rows = session.execute(select(RadiographRow.id, RadiographRow.name, RadiographRow.storage_key)).all()
        marks = {
            row.id: fingerprint(decode(store.get(row.storage_key), max_pixels=settings.max_pixels)) for row in rows
        }
        with database.transaction() as session:
            session.execute(JobRow.__table__.update().values(status=JobStatus.CANCELLED))  # type: ignore[attr-defined]
            record_fingerprints(session, marks)
        while find_look_alikes(settings, database, store):
            pass
        with database.reading() as session:
            links = session.execute(select(LookAlikeRow.radiograph_id, LookAlikeRow.other_id)).all()
        database.dispose()
    return [(one, other) for one, other in links], {row.id: row.name for row in rows}


if __name__ == "__main__":
    main()
