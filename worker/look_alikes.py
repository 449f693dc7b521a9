"""Look for the same radiograph in another dress, while nothing waits.

A hash only proposes; what counts is the detail of the stored originals, laid on each other. Decoding those takes time,
so it is done in the reconciler's tick, one radiograph at a time, and only as long as no work waits.
"""

from __future__ import annotations

import logging
import time

from core.database import Database
from core.errors import OriginalAltered, RejectedImage, Unavailable
from core.images import decode
from core.likeness import alike
from core.near_duplicates import CANDIDATE_BITS, SIDE, Thumbnails, thumbnail
from core.records.likenesses import Candidate, Unseen, candidates, record_look_alikes, take_unseen, work_waits
from core.settings import Settings
from core.store import Store
from worker.memory import limited_memory

log = logging.getLogger(__name__)

#: Seconds of a tick that may go into this.
_MOST_SECONDS = 1.0


def find_look_alikes(settings: Settings, database: Database, store: Store) -> int:
    """Look at radiographs for which nobody has looked, until time is up or work waits.

    Returns:
        How many were looked at.

    Raises:
        Unavailable: The database went away.
    """
    until, looked = time.monotonic() + _MOST_SECONDS, 0
    while time.monotonic() < until:
        with database.reading() as session:
            if work_waits(session):
                break
        with database.transaction() as session:
            if (unseen := take_unseen(session)) is None:
                break
            near = candidates(session, unseen, most_bits=CANDIDATE_BITS)
        looked += 1
        if near and (found := _checked(settings, store, unseen, near)):
            with database.transaction() as session:
                record_look_alikes(session, unseen.radiograph_id, found)
    return looked


def _checked(settings: Settings, store: Store, unseen: Unseen, near: list[Candidate]) -> list[tuple[Candidate, float]]:
    """Return the candidates whose detail agrees, and how well."""
    own = _thumbnail(settings, store, unseen.storage_key, unseen.frame)
    if own is None:
        return []
    read = [(each, _thumbnail(settings, store, each.storage_key, each.frame)) for each in near]
    there = [(each, picture) for each, picture in read if picture is not None]
    if not there:
        return []
    likeness = alike(own, [picture for _, picture in there])
    return [(there[place][0], value) for place, value in likeness.items()]


def _thumbnail(settings: Settings, store: Store, key: str, frame: int) -> Thumbnails | None:
    """Read a stored original coarsely; None where that is gone or cannot be read."""
    try:
        with limited_memory(settings.memory_limit_mib):
            return thumbnail(decode(store.get(key), max_pixels=settings.max_pixels, frame=frame, enough=2 * SIDE))
    except (OriginalAltered, RejectedImage, Unavailable, MemoryError) as error:
        log.info("The original %s was left out of a comparison: %s", key, error)
        return None
