"""The same radiograph in another dress is linked, on both databases; others are not, and nothing is merged."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import delete, func, select

from core.database import Database
from core.images import decode
from core.ingest import Incoming, Ingest
from core.likeness import REACH, bands, distance, fingerprint, joined, neighbours
from core.records.claims import Outcome, store_outcomes
from core.records.intake import Submission
from core.records.likenesses import look_alikes, record_look_alikes, take_unseen
from core.settings import Settings
from core.storage import FolderStore
from core.tables import (
    ArrivalRadiographRow,
    JobRow,
    LikenessRow,
    LookAlikeRow,
    PredictionRow,
    RadiographRow,
    ScoreRow,
    Source,
)
from tests.fakes import claim, saved, some_answer
from worker.look_alikes import find_look_alikes


class Shelf:
    """An installation whose radiographs are answered, and looked at as a worker in its idle time does."""

    def __init__(self, settings: Settings, database: Database, model_id: int) -> None:
        assert settings.store_path is not None
        self.settings, self.database, self.model_id = settings, database, model_id
        self.store = FolderStore(settings.store_path)
        self.ingest = Ingest(settings, database, self.store, lambda _: None)

    def take_in(self, *contents: bytes) -> list[int]:
        found: list[int] = []
        for data in contents:
            file = Incoming(name="scan.png", data=data, size=len(data))
            found += self.ingest.take(Submission(source=Source.INBOX), [file]).arrivals[0].radiograph_ids
        return found

    def answer(self) -> None:
        """Store an answer for all that waits, and the hash of each picture with it."""
        while taken := claim(self.database, self.model_id):
            outcomes = []
            for job in taken.jobs:
                pixels = decode(self.store.get(job.storage_key), max_pixels=10**7)
                mark = fingerprint(pixels)
                outcomes.append(Outcome(job=job, answer=some_answer(), engine="fake", fingerprint=mark))
            with self.database.transaction() as session:
                assert len(store_outcomes(session, taken, outcomes, "w@test:1")) == len(taken.jobs)

    def look(self) -> int:
        looked = 0
        while now := find_look_alikes(self.settings, self.database, self.store):
            looked += now
        return looked

    def links(self) -> set[tuple[int, int]]:
        with self.database.reading() as session:
            rows = session.execute(select(LookAlikeRow.radiograph_id, LookAlikeRow.other_id))
            return {(later, earlier) for later, earlier in rows}


@pytest.fixture
def shelf(settings: Settings, database: Database, model_id: int) -> Shelf:
    return Shelf(settings, database, model_id)


@pytest.fixture(scope="module")
def hands(data_folder: Path) -> list[bytes]:
    """Real hands on the same plate, each another patient's: as alike as different radiographs are."""
    folder = data_folder / "fracture-binary"
    with (folder / "MANIFEST.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["region"] == "hand" and row["split"] == "test"]
    return [(folder / row["path"]).read_bytes() for row in rows[::6][:8]]


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data)).convert("L")


def halved(picture: Image.Image) -> Image.Image:
    return picture.resize((picture.width // 2, picture.height // 2))


def cut(picture: Image.Image) -> Image.Image:
    across, down = round(picture.width * 0.02), round(picture.height * 0.02)
    return picture.crop((across, down, picture.width - across, picture.height - down))


DRESSES: dict[str, Callable[[Image.Image], bytes]] = {
    "another format": lambda picture: saved(picture, "PNG"),
    "other bytes": lambda picture: saved(picture, "JPEG", quality=60),
    "another size": lambda picture: saved(halved(picture), "JPEG", quality=85),
    "another crop": lambda picture: saved(cut(picture), "PNG"),
}


def test_the_same_radiograph_in_another_dress_is_linked_and_others_are_not(shelf: Shelf, hands: list[bytes]) -> None:
    # given: eight patients' hands, then the third one in four other dresses
    originals = shelf.take_in(*hands)
    dressed = shelf.take_in(*(dress(opened(hands[2])) for dress in DRESSES.values()))
    # when: they are answered, and nothing waits
    assert shelf.look() == 0, "work that waits comes first"
    shelf.answer()
    assert shelf.look() == len(originals) + len(dressed)
    # then: each dress is linked with the original and with the dresses before it, and no other hand with any
    family = [originals[2], *dressed]
    expected = {(later, earlier) for later in family for earlier in family if earlier < later}
    assert shelf.links() == expected
    with shelf.database.reading() as session:
        named = {each.id: each.difference for each in look_alikes(session, originals[2])}
        assert session.scalar(select(func.count()).select_from(RadiographRow)) == len(originals) + len(dressed)
    for number, words in zip(dressed, DRESSES, strict=True):
        # Two per cent off each side leave the proportions as they were: then the size is what is told.
        assert named[number] in ((words, "another size") if words == "another crop" else (words,))
    assert shelf.look() == 0, "nothing is looked at twice"


def test_a_deleted_radiograph_takes_its_links_along(shelf: Shelf, hands: list[bytes]) -> None:
    first, second, third = shelf.take_in(
        hands[0], DRESSES["another format"](opened(hands[0])), DRESSES["another size"](opened(hands[0]))
    )
    shelf.answer()
    shelf.look()
    assert shelf.links() == {(second, first), (third, first), (third, second)}
    # when: the first goes, as somebody deletes it in SQL who knows nothing of likenesses
    with shelf.database.transaction() as session:
        session.execute(delete(ScoreRow))
        for column in (
            *(PredictionRow.radiograph_id, JobRow.radiograph_id, ArrivalRadiographRow.radiograph_id),
            RadiographRow.id,
        ):
            session.execute(delete(column.class_).where(column == first))
    # then
    assert shelf.links() == {(third, second)}
    with shelf.database.reading() as session:
        assert [each.id for each in look_alikes(session, second)] == [third]
        assert look_alikes(session, first) == []


def test_a_radiograph_that_is_deleted_while_it_is_compared_leaves_no_link(shelf: Shelf, hands: list[bytes]) -> None:
    from core.records.likenesses import Candidate

    (first,) = shelf.take_in(hands[0])
    shelf.answer()
    with shelf.database.transaction() as session:
        record_look_alikes(session, first + 1, [(Candidate(first, 0, "", 0), 2.0)])
        record_look_alikes(session, first, [(Candidate(first + 1, 0, "", 0), 2.0)])
    assert shelf.links() == set()


def test_an_original_that_is_gone_ends_no_comparison(shelf: Shelf, hands: list[bytes]) -> None:
    first, second, third = shelf.take_in(hands[0], *(DRESSES[name](opened(hands[0])) for name in list(DRESSES)[:2]))
    shelf.answer()
    with shelf.database.reading() as session:
        key = session.get_one(RadiographRow, first).storage_key
    shelf.store.path(key).unlink()
    assert shelf.look() == 3
    assert shelf.links() == {(third, second)}


def test_a_radiograph_is_taken_once_and_by_one(shelf: Shelf, hands: list[bytes]) -> None:
    shelf.take_in(hands[0])
    shelf.answer()
    with shelf.database.transaction() as session:
        assert take_unseen(session) is not None
    with shelf.database.transaction() as session:
        assert take_unseen(session) is None


def test_a_second_model_keeps_the_hash_that_the_first_stored(shelf: Shelf, hands: list[bytes]) -> None:
    from core.records.likenesses import record_fingerprints

    (first,) = shelf.take_in(hands[0])
    shelf.answer()
    with shelf.database.transaction() as session:
        before = session.get_one(LikenessRow, first)
        record_fingerprints(session, {first: 0})
        session.refresh(before)
        assert joined([before.band_0, before.band_1, before.band_2, before.band_3]) != 0


def test_hashes_within_reach_share_a_neighbour_of_some_band() -> None:
    generator = np.random.default_rng(3)
    for _ in range(200):
        mark = int(generator.integers(0, 2**63)) * 2 + 1
        other = mark
        for bit in generator.choice(64, REACH, replace=False):
            other ^= 1 << int(bit)
        assert distance(mark, other) == REACH
        assert joined(bands(mark)) == mark
        assert any(b in set(neighbours(a)) for a, b in zip(bands(mark), bands(other), strict=True))
