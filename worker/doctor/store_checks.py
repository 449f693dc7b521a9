"""The store's checks: originals that are missing or altered, half-written files, files without a row."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from core.object_cache import ObjectCache
from core.pseudonyms import Pseudonyms
from core.records.upkeep import Original, known_contents, originals
from core.retention import discard
from core.storage import SAFE_AGE_SECONDS, key_of
from worker.doctor.ailments import Ailment, Check, Premises, mend_each

_PAGE = 1000
#: Originals looked at together: a bucket answers several nearly as fast as one.
_AT_ONCE = 8


def _examine_store(premises: Premises) -> None:
    premises.store.probe()  # what it raises is the ailment


def _examine_originals(premises: Premises) -> Ailment | None:
    return Ailment.of(
        "radiograph",
        "without the original: missing from the store, or altered. Answers stay.",
        [f"radiograph {original.radiograph_id}" for original in _damaged(premises)],
        remedy="brings back those of which a copy lies in done/, failed/ or processing/, or in an inbox that is only "
        "read; send the others in again",
    )


def _bring_back(premises: Premises) -> None:
    wanted = {original.sha256: original for original in _damaged(premises)}
    sizes = {original.bytes for original in wanted.values()}
    settings = premises.settings
    in_place = (settings.inbox,) if settings.inbox_read_only else ()

    def compare(path: Path) -> None:
        try:
            data = path.read_bytes() if wanted and path.stat().st_size in sizes else b""
        except OSError:
            return  # moved on meanwhile
        original = wanted.pop(hashlib.sha256(data).hexdigest(), None)
        if original is not None:
            _restore(premises, original, data)

    mend_each(_files_below(settings.done, settings.failed, settings.processing, *in_place), compare)


def _restore(premises: Premises, original: Original, data: bytes) -> None:
    """Write an original anew from its content as it came; of DICOM without the patient's name, as it was stored."""
    if original.stored_sha256 is None:
        premises.store.restore(data, original.sha256)
        return
    from core.dicom.profile import deidentified

    left = deidentified(data, Pseudonyms.of(premises.settings)).data
    # With another key the content would be another one; sending the file in again then mends it.
    if hashlib.sha256(left).hexdigest() == original.stored_sha256:
        premises.store.restore(left, original.stored_sha256)


def _examine_half_written(premises: Premises) -> Ailment | None:
    return Ailment.of(
        "file",
        "half-written in the store: the writers died.",
        premises.store.unfinished(),
        remedy="deletes them; their senders were told nothing, or send again",
    )


def _delete_half_written(premises: Premises) -> None:
    premises.store.clear_unfinished()


def _examine_forgotten(premises: Premises) -> Ailment | None:
    return Ailment.of(
        "file",
        "in the store without a radiograph: something died between storing and recording.",
        [f"sha256 {digest[:12]}..." for digest in _forgotten(premises)],
        remedy="deletes them",
    )


def _delete_forgotten(premises: Premises) -> None:
    mend_each(_forgotten(premises), lambda digest: discard(premises.database, premises.store, digest))


def _examine_copies(premises: Premises) -> Ailment | None:
    return Ailment.of(
        "file",
        "in this machine's cache without a radiograph, or without an original any more.",
        [f"sha256 {digest[:12]}..." for digest in _stale_copies(premises)],
        remedy="deletes them; each machine has a cache of its own",
    )


def _delete_copies(premises: Premises) -> None:
    cache = ObjectCache.of(premises.settings)
    for digest in _stale_copies(premises):
        if cache is not None:
            cache.drop(digest)


def _stale_copies(premises: Premises) -> list[str]:
    cache = ObjectCache.of(premises.settings)
    stale = []
    for page in _pages(cache.digests() if cache is not None else ()):
        with premises.database.reading() as session:
            known = known_contents(session, page)
        stale += [digest for digest in page if digest not in known]
    return stale


def _damaged(premises: Premises) -> Iterator[Original]:
    premises.store.reach()  # a store that is not there must not look like one that lost everything
    after = 0
    while True:
        with premises.database.reading() as session:
            page = originals(session, after=after, limit=_PAGE)
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="doctor") as side_by_side:
            whole = list(side_by_side.map(lambda original: _is_whole(premises, original), page))
        yield from (original for original, is_whole in zip(page, whole, strict=True) if not is_whole)
        if len(page) < _PAGE:
            return
        after = page[-1].radiograph_id


def _is_whole(premises: Premises, original: Original) -> bool:
    if premises.store.size(original.storage_key) != (original.stored_bytes or original.bytes):
        return False
    return not premises.deep or premises.store.verify(original.storage_key)


def _forgotten(premises: Premises) -> Iterator[str]:
    for page in _pages(premises.store.kept()):
        with premises.database.reading() as session:
            known = known_contents(session, page)
        yield from (digest for digest in page if digest not in known and _is_old(premises, digest))


def _is_old(premises: Premises, digest: str) -> bool:
    """Whether nobody has written or wanted an original for long; False when it is gone."""
    age = premises.store.age_seconds(key_of(digest))
    return age is not None and age > SAFE_AGE_SECONDS


def _files_below(*folders: Path) -> Iterator[Path]:
    for folder in folders:
        for parent, _, names in os.walk(folder):
            yield from (Path(parent, name) for name in names)


def _pages(items: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(items)
    while page := list(itertools.islice(rest, _PAGE // 2)):
        yield page


STORE_CHECKS = (
    Check("store", _examine_store),
    Check("originals", _examine_originals, _bring_back),
    Check("half-written files", _examine_half_written, _delete_half_written),
    Check("forgotten files", _examine_forgotten, _delete_forgotten),
    Check("copies in the cache", _examine_copies, _delete_copies),
)
