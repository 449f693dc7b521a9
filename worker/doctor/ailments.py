"""What a check says: what is wrong, with how much of it, and what can be done."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from core.database import Database
from core.errors import FractureError
from core.records.upkeep import EXAMPLES
from core.records.workers import living
from core.settings import Settings
from core.store import Store
from core.words import counted

_Found = TypeVar("_Found")


@dataclass(frozen=True)
class Premises:
    """One installation, as the checks see it."""

    settings: Settings
    database: Database
    store: Store
    actor: str  # who mends, for the audit trail
    deep: bool = False  # read every original and compare its sha256, not only its size

    def has(self, role: str) -> bool:
        """Whether a process of this role was heard of lately."""
        with self.database.reading() as session:
            return bool(living(session, role=role, within_seconds=2 * self.settings.lease_seconds))


@dataclass(frozen=True)
class Ailment:
    """One thing that is wrong. Names of files are left out: they may be patients' names."""

    words: str  # a sentence for a person
    count: int
    examples: tuple[str, ...] = ()  # by id
    remedy: str = ""  # what `--fix` does; empty: it can do nothing
    notice: bool = False  # worth knowing, but nothing is broken

    @classmethod
    def of(
        cls, noun: str, words: str, examples: Iterable[object], *, remedy: str = "", count: int | None = None
    ) -> Ailment | None:
        """Describe what was found, with the first few examples; None when there are none.

        Args:
            noun: What there is one of: "file".
            words: What is wrong with one or many of them.
            examples: All that were found, or the first few of `count`.
            remedy: What `--fix` does.
            count: How many there are; None: as many as examples.
        """
        found = [str(example) for example in examples]
        number = len(found) if count is None else count
        if not number:
            return None
        return cls(f"{counted(number, noun)} {words}", number, tuple(found[:EXAMPLES]), remedy)


@dataclass(frozen=True)
class Check:
    """One question to an installation, and how to mend what it finds.

    Both are safe beside everything that runs, a second doctor included. What they raise as `FractureError` or `OSError`
    is told as an ailment of its own.
    """

    name: str
    examine: Callable[[Premises], Ailment | None]
    mend: Callable[[Premises], object] | None = None


def mend_each(found: Iterable[_Found], mend: Callable[[_Found], object]) -> None:
    """Mend one after another; one that cannot be mended keeps none of the others from it.

    Raises:
        FractureError: One could not be mended; so does `OSError`. The first one's is raised in the end.
    """
    first: FractureError | OSError | None = None
    for each in found:
        try:
            mend(each)
        except (FractureError, OSError) as error:
            first = first or error
    if first is not None:
        raise first
