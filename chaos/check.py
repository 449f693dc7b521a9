"""The independent check: what was given against what is stored, with plain SQL and plain files."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from dataclasses import dataclass

from sqlalchemy import text

from chaos.trial import Trial


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
    wanted = {_sha256(content) for content in trial.given.values()}
    with trial.database.reading() as session:
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
    store, by_content, altered = trial.settings.store_path, defaultdict(list), 0
    for number, digest, key in radiographs:
        by_content[digest].append(number)
        original = None if store is None else store / key
        altered += original is None or not original.is_file() or _sha256(original.read_bytes()) != digest
    lost = 0
    for digest in wanted:
        numbers = by_content.get(digest, [])
        lost += not numbers or any(answered[number] + failed[number] != models for number in numbers)
    moved = sum(path.is_file() for path in trial.settings.done.rglob("*"))
    dropped = sum(name.startswith("drop-") for name in trial.given)
    kept = sum(path.is_file() and not path.name.endswith(".reason.txt") for path in trial.settings.failed.rglob("*"))
    return Verdict(
        given=len(wanted),
        lost=lost,
        doubled=several + sum(len(numbers) > 1 for numbers in by_content.values()),
        altered=altered,
        left=max(0, dropped - moved - kept),
    )


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
