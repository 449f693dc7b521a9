"""The independent check: what was given against what is stored, with plain SQL and plain files."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Collection
from dataclasses import dataclass

from sqlalchemy import text

from chaos.trial import Trial
from core.database import Database


@dataclass(frozen=True)
class Verdict:
    """What the check found; all but `given` should be 0."""

    given: int  # radiographs
    lost: int  # without exactly one prediction or stated failure for each active model
    doubled: int  # with several predictions of one model, or several radiographs of one content
    altered: int  # originals that are not, byte for byte, what was given
    left: int  # files that lie neither in done/ nor in failed/

    @property
    def is_clean(self) -> bool:
        """Whether nothing is wrong."""
        return self.lost == self.doubled == self.altered == self.left == 0


def check(trial: Trial) -> Verdict:
    """Compare everything; the installation should be quiet."""

    def original(key: str) -> bytes | None:
        path = None if trial.settings.store_path is None else trial.settings.store_path / key
        return path.read_bytes() if path is not None and path.is_file() else None

    moved = sum(path.is_file() for path in trial.settings.done.rglob("*"))
    dropped = sum(name.startswith("drop-") for name in trial.given)
    kept = sum(path.is_file() and not path.name.endswith(".reason.txt") for path in trial.settings.failed.rglob("*"))
    wanted = {sha256_of(content) for content in trial.given.values()}
    return compare(trial.database, wanted, original, left=max(0, dropped - moved - kept))


def compare(
    database: Database, wanted: Collection[str], original: Callable[[str], bytes | None], *, left: int
) -> Verdict:
    """Compare what was given with a database and its store.

    Args:
        database: The installation's.
        wanted: The sha256 of each content that was given.
        original: Reads an original by its key, past the program; None: there is none.
        left: Files that nobody put away.
    """
    with database.reading() as session:
        models = session.execute(text("SELECT count(*) FROM model_versions WHERE active")).scalar_one()
        radiographs = session.execute(text("SELECT id, sha256, storage_key FROM radiographs")).all()
        answered = Counter(row[0] for row in session.execute(text("SELECT radiograph_id FROM predictions")))
        failed = Counter(
            row[0]
            for row in session.execute(
                text("SELECT radiograph_id FROM jobs WHERE status = 'failed' AND error_words IS NOT NULL")
            )
        )
        several = session.execute(
            text(
                "SELECT count(*) FROM (SELECT 1 FROM predictions GROUP BY radiograph_id, model_version_id"
                " HAVING count(*) > 1) AS doubled"
            )
        ).scalar_one()
    by_content, altered = defaultdict(list), 0
    for number, digest, key in radiographs:
        by_content[digest].append(number)
        stored = original(key)
        altered += stored is None or sha256_of(stored) != digest
    lost = 0
    for digest in wanted:
        numbers = by_content.get(digest, [])
        lost += not numbers or any(answered[number] + failed[number] != models for number in numbers)
    return Verdict(
        given=len(wanted),
        lost=lost,
        doubled=several + sum(len(numbers) > 1 for numbers in by_content.values()),
        altered=altered,
        left=left,
    )


def sha256_of(content: bytes) -> str:
    """Return a content's hash, written as the database writes it."""
    return hashlib.sha256(content).hexdigest()
