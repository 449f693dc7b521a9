"""The store of originals as a bucket: Amazon S3, or a service that speaks the same (MinIO, Ceph, Garage, ...).

    PREFIX/ab/abcd...             an original, named by the sha256 of its content
    PREFIX/discarding/abcd.../X   somebody is about to delete that original
    PREFIX/probe/X                the doctor's question whether one can write here

A bucket has no rename, so that deleting needs another protocol than in a folder. Who deletes announces it first, then
looks whether the original was written lately; who stores writes first, then looks for announcements. Whichever way they
meet, one of them sees the other. Whoever deletes compares the bucket's own times; whoever stores goes by this machine's
clock, which may be wrong by half an hour at most. S3 refuses the requests of one that is wrong by a quarter.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from core.errors import ConfigurationError, OriginalAltered, StoreUnavailable
from core.object_cache import ObjectCache
from core.settings import Settings
from core.storage import SAFE_AGE_SECONDS, checked_key_of, digest_of, key_of, refuse_other_content

try:
    import obstore
    from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
    from obstore.store import S3Store
except ImportError as error:
    raise ConfigurationError(
        "FRACTURE_STORE_URL names a bucket, for which obstore is missing: `pip install 'fracture-queue[s3]'`."
    ) from error

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import ClientConfig, RetryConfig

log = logging.getLogger(__name__)

#: Originals above this go up in parts of this size, so many at once; a part that fails is sent again, not the whole.
PART_BYTES = 8 * 2**20
_PARTS_AT_ONCE = 4
#: A store that is away is said to be so within about 20 s, well below the time that a batch may take.
_CONNECT_SECONDS, _READ_SECONDS, _RETRY_SECONDS, _RETRIES = 3, 8, 10, 4
#: A part has to be gone and answered within this: 8 MiB in half a minute, four at once, are 9 Mbit/s.
_WRITE_SECONDS = 30
#: For so long nobody else asks a store that has just been away: a batch would otherwise wait once for each radiograph.
_SILENT_SECONDS = 5.0
#: Announcements hold for this long. Who announced deletes within the shorter time, or not at all.
_ANNOUNCED_SECONDS, _DELETED_WITHIN_SECONDS = 300.0, 60.0
_DISCARDING, _PROBE = "discarding", "probe"


class ObjectStore:
    """Originals in a bucket, with copies on this machine's disk."""

    def __init__(
        self, reading: S3Store, writing: S3Store, asking: S3Store, name: str, cache: ObjectCache | None
    ) -> None:
        """Keep the parts.

        Args:
            reading: The bucket, for questions and answers.
            writing: The same, with more patience for what goes up.
            asking: The same, with hardly any.
            name: What it is called in sentences.
            cache: Copies on this machine.
        """
        self._reading, self._writing, self._asking, self._name, self._cache = reading, writing, asking, name, cache
        self._away_until, self._why = 0.0, ""

    @classmethod
    def of(cls, settings: Settings) -> ObjectStore:
        """Open the bucket that the settings name; nothing is asked of it yet.

        Raises:
            ConfigurationError: The address names none.
        """
        if settings.bucket is None:
            raise ConfigurationError("FRACTURE_STORE_URL names no bucket.")
        return cls(
            _bucket(settings, _READ_SECONDS, _RETRIES),
            _bucket(settings, _WRITE_SECONDS, _RETRIES),
            _bucket(settings, _CONNECT_SECONDS, 0),
            f"s3://{'/'.join(filter(None, settings.bucket))}",
            ObjectCache.of(settings),
        )

    def put(self, data: bytes, sha256: str) -> str:
        """Keep one original; return its key. When this returns, the bucket has it for good.

        Raises:
            StoreUnavailable: The bucket is away, or just about to delete an older copy.
        """
        key = checked_key_of(sha256)
        with self._asked("The original cannot be stored"):
            found = self._head(key)
            # One that was written a moment ago is as good as written now; an older one might be thought forgotten.
            if found is None or found["size"] != len(data) or _age(found) > SAFE_AGE_SECONDS / 2:
                self._write(key, data)
            self._refuse_while_discarded(key)
        return key

    def restore(self, data: bytes, sha256: str) -> None:
        """Write an original anew, whatever lies in its place.

        Raises:
            ValueError: The content is not what the hash says.
            StoreUnavailable: As `put`.
        """
        refuse_other_content(data, sha256)
        with self._asked("The original cannot be stored"):
            self._write(key_of(sha256), data)
            self._refuse_while_discarded(key_of(sha256))

    def get(self, key: str) -> bytes:
        """Return one original.

        Raises:
            StoreUnavailable: It is missing, or the bucket is away.
            OriginalAltered: It is not what came in.
        """
        digest = digest_of(key)
        if self._cache is not None and (copy := self._cache.get(digest)) is not None:
            return copy
        # Once more, because what was damaged on its way here is whole there.
        data = self._whole(key) or self._whole(key)
        if data is None:
            raise OriginalAltered
        if self._cache is not None:
            self._cache.put(digest, data)
        return data

    def size(self, key: str) -> int | None:
        """Return how many bytes lie under a key; None when it is missing.

        Raises:
            StoreUnavailable: The bucket is away.
        """
        digest_of(key)
        with self._asked("The store cannot be asked"):
            found = self._head(key)
        return None if found is None else found["size"]

    def age_seconds(self, key: str) -> float | None:
        """Return for how long nobody has written an original; None when it is missing.

        Raises:
            StoreUnavailable: The bucket is away.
        """
        digest_of(key)
        with self._asked("The store cannot be asked"):
            found = self._head(key)
        return None if found is None else _age(found)

    def verify(self, key: str) -> bool:
        """Whether what lies in the bucket is what came in; copies on this machine are not asked.

        Raises:
            StoreUnavailable: The bucket is away.
        """
        return self.size(key) is not None and (self._whole(key) or self._whole(key)) is not None

    def kept(self) -> Iterator[str]:
        """Walk over the sha256 of every original, in no particular order.

        Raises:
            StoreUnavailable: The bucket is away.
        """
        for meta in self._listed(None):
            digest = meta["path"].rpartition("/")[2]
            try:
                if checked_key_of(digest) == meta["path"]:
                    yield digest
            except ValueError:
                continue  # something else that lies here

    def discard(self, key: str, is_needed: Callable[[], bool]) -> bool:
        """Delete an original unless somebody wants it at this moment; return whether it is gone by this call.

        Raises:
            StoreUnavailable: The bucket is away. The announcement then lapses.
        """
        announced, began = f"{_DISCARDING}/{digest_of(key)}/{secrets.token_hex(8)}", time.monotonic()
        with self._asked("An original cannot be deleted"):
            obstore.put(self._writing, announced, b"")
            mark, found = self._head(announced), self._head(key)
        try:
            if mark is None or found is None or is_needed():
                return False
            if (mark["last_modified"] - found["last_modified"]).total_seconds() < SAFE_AGE_SECONDS:
                return False
            if time.monotonic() - began > _DELETED_WITHIN_SECONDS:
                return False  # this process was paused; others need not heed the announcement much longer
            with self._asked("An original cannot be deleted"):
                obstore.delete(self._reading, key)
            if self._cache is not None:
                self._cache.drop(digest_of(key))
            return True
        finally:
            with self._asked("An original cannot be deleted"):
                obstore.delete(self._reading, announced)

    def unfinished(self) -> list[str]:
        """Return announcements and probes of processes that died. Uploads in parts are the bucket's to clear.

        Raises:
            StoreUnavailable: The bucket is away.
        """
        found = [*self._listed(f"{_DISCARDING}/"), *self._listed(f"{_PROBE}/")]
        return sorted(meta["path"] for meta in found if _age(meta) > SAFE_AGE_SECONDS)

    def clear_unfinished(self) -> None:
        """Delete them.

        Raises:
            StoreUnavailable: The bucket is away.
        """
        for name in self.unfinished():
            with self._asked("An original cannot be deleted"):
                obstore.delete(self._reading, name)

    def reach(self) -> None:
        """Raise when the bucket is away; within some seconds.

        Raises:
            StoreUnavailable: It is.
        """
        with self._asked("The store cannot be asked"):
            next(iter(obstore.list(self._asking, f"{_PROBE}/", chunk_size=1)), None)

    def probe(self) -> None:
        """Write, read and delete something of no meaning.

        Raises:
            StoreUnavailable: One of them failed.
        """
        self.reach()
        name, wanted = f"{_PROBE}/{secrets.token_hex(8)}", secrets.token_bytes(16)
        with self._asked("What was written a moment ago cannot be read"):
            obstore.put(self._writing, name, wanted)
            found = obstore.get(self._reading, name).bytes().to_bytes()
            obstore.delete(self._reading, name)
        if found != wanted:
            raise StoreUnavailable(f"The store {self._name} returned something else than what was written.")

    def _write(self, key: str, data: bytes) -> None:
        obstore.put(self._writing, key, data, chunk_size=PART_BYTES, max_concurrency=_PARTS_AT_ONCE)

    def _head(self, key: str) -> ObjectMeta | None:
        try:
            return obstore.head(self._reading, key)
        except FileNotFoundError:
            return None

    def _whole(self, key: str) -> bytes | None:
        """Read an original from the bucket; None when it is not what came in."""
        with self._asked(f"The original {key} cannot be read"):
            data = obstore.get(self._reading, key).bytes().to_bytes()
        return data if hashlib.sha256(data).hexdigest() == digest_of(key) else None

    def _listed(self, below: str | None) -> Iterator[ObjectMeta]:
        """Walk over what lies in the bucket, a thousand at a time."""
        with self._asked("The store cannot be listed"):
            pages = iter(obstore.list(self._reading, below))
        while True:
            with self._asked("The store cannot be listed"):
                page = next(pages, None)
            if page is None:
                return
            yield from page

    def _refuse_while_discarded(self, key: str) -> None:
        """Raise while somebody is about to delete this original; what was written just now may go with it."""
        marks = [mark for page in obstore.list(self._reading, f"{_DISCARDING}/{digest_of(key)}/") for mark in page]
        if not marks:
            return
        found = self._head(key)  # written a moment ago, so it tells the bucket's time
        newest = max(mark["last_modified"] for mark in marks)
        if found is None or (found["last_modified"] - newest).total_seconds() < _ANNOUNCED_SECONDS:
            raise StoreUnavailable("An older copy of this original is being deleted at this moment; try again.")

    @contextmanager
    def _asked(self, what: str) -> Iterator[None]:
        """Translate what a bucket that is away raises, and leave it alone for a while then."""
        if time.monotonic() < self._away_until:
            raise StoreUnavailable(self._why)
        try:
            yield
        except (PermissionDeniedError, UnauthenticatedError, PermissionError) as error:
            raise self._said("refuses the access key, or what was asked of it", error) from error
        except (BaseError, OSError) as error:
            if "NoSuchBucket" in str(error):
                raise self._said("has no such bucket", error) from error
            if isinstance(error, FileNotFoundError):
                raise StoreUnavailable(f"{what}: it is missing from {self._name}.") from error
            self._why, self._away_until = f"The store {self._name} does not answer.", time.monotonic() + _SILENT_SECONDS
            raise self._said("does not answer", error) from error

    def _said(self, how: str, error: Exception) -> StoreUnavailable:
        log.warning("The store %s %s: %s", self._name, how, str(error).partition("\n")[0])
        return StoreUnavailable(f"The store {self._name} {how}.")


def _bucket(settings: Settings, read_seconds: float, retries: int) -> S3Store:
    name, prefix = settings.bucket or ("", "")
    client: ClientConfig = {
        "allow_http": settings.store_endpoint.startswith("http://"),
        "connect_timeout": timedelta(seconds=_CONNECT_SECONDS),
        "read_timeout": timedelta(seconds=read_seconds),
        "timeout": timedelta(minutes=5),
    }
    retry: RetryConfig = {
        "max_retries": retries,
        "retry_timeout": timedelta(seconds=_RETRY_SECONDS),
        "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=2), "base": 2},
    }
    told = {
        "endpoint": settings.store_endpoint.rstrip("/"),
        "access_key_id": settings.store_access_key,
        "secret_access_key": settings.store_secret_key,
    }
    return S3Store(
        name,
        prefix=prefix or None,
        region=settings.store_region,
        checksum_algorithm="SHA256",  # the bucket compares what arrived with what was sent
        client_options=client,
        retry_config=retry,
        **{name: value for name, value in told.items() if value},  # type: ignore[arg-type]
    )


def _age(meta: ObjectMeta) -> float:
    return (datetime.now(UTC) - meta["last_modified"]).total_seconds()
