"""The doctor on files: taken ones that nobody recorded, lost and half-written originals, forgotten ones."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from core.database import now
from core.storage import SAFE_AGE_SECONDS
from core.tables import ArrivalRow, RadiographRow
from tests.conftest import draw_radiograph
from tests.dicom_files import dicom, ramp
from tests.unit.desk import Desk
from tests.unit.patients import (
    age,
    broker,
    desk,
    found,
    let_pass,
    path_of,
    run_together,
    store_of,
)

__all__ = ["broker", "desk"]


# Files in processing/


def test_taken_files_that_nobody_recorded_go_back_into_the_inbox(desk: Desk) -> None:
    # given: the inbox process died after taking a file, and a file of the same name has come since
    desk.drop("study/hand.png", draw_radiograph(1))
    for _ in range(3):
        desk.look(10)
    desk.drop("study/hand.png", draw_radiograph(2))
    let_pass(desk, 600)
    # when
    assert set(found(desk)) == {"unrecorded files"}
    assert found(desk, fix=True)["unrecorded files"].well
    # then
    assert desk.below(desk.settings.inbox) == ["study/hand (2).png", "study/hand.png"]
    assert desk.in_processing() == []
    # and the next inbox process takes both, also the one that had known the first
    assert desk.take() == 2
    assert len(desk.arrivals()) == 2


def test_what_a_person_put_into_processing_goes_into_the_inbox(desk: Desk) -> None:
    (desk.settings.processing / "hand.png").write_bytes(draw_radiograph(1))
    (desk.settings.processing / "QUILLFEATHER" / "left").mkdir(parents=True)
    for seed in (2, 3):
        (desk.settings.processing / "QUILLFEATHER" / "left" / f"{seed}.png").write_bytes(draw_radiograph(seed))
    assert found(desk) == {}  # it may still be on its way
    let_pass(desk, 600)
    verdict = found(desk, fix=True)["unrecorded files"]
    assert verdict.found is not None
    assert "QUILLFEATHER" not in str(verdict)
    assert verdict.well
    assert desk.below(desk.settings.inbox) == ["hand.png", "left/2.png", "left/3.png"]
    assert desk.in_processing() == []


def test_files_whose_work_has_ended_are_moved_on(desk: Desk) -> None:
    desk.drop("hand.png", draw_radiograph(1))
    desk.take()
    desk.drop("text.png", b"no image")
    desk.take()
    desk.classify()
    assert found(desk) == {}  # the inbox process will do it
    let_pass(desk, 600)
    assert set(found(desk)) == {"finished files"}
    assert found(desk, fix=True)["finished files"].well
    assert desk.below(desk.settings.done) == ["hand.png"]
    assert desk.below(desk.settings.failed) == ["text.png", "text.png.reason.txt"]
    assert desk.in_processing() == []
    assert all(arrival.settled_at for arrival in desk.arrivals())


def test_a_file_whose_arrival_counts_as_settled_is_moved_on_too(desk: Desk) -> None:
    desk.drop("hand.png", draw_radiograph(1))
    desk.take()
    desk.classify()
    with desk.database.transaction() as session:
        session.execute(update(ArrivalRow).values(settled_at=now(session)))
    let_pass(desk, 600)
    assert found(desk, fix=True)["finished files"].well
    assert desk.below(desk.settings.done) == ["hand.png"]


# Files in the store


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _turn_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("harm", [Path.unlink, _cut, _turn_a_bit])
def test_a_lost_original_is_brought_back_from_its_copy(desk: Desk, harm: Callable[[Path], None]) -> None:
    data = draw_radiograph(1)
    desk.drop("hand.png", data)
    desk.take()
    desk.classify()
    desk.inbox.settle()
    stored = path_of(desk, 1)
    harm(stored)
    altered = harm is _turn_a_bit
    assert set(found(desk)) == (set() if altered else {"originals"})
    verdict = found(desk, fix=True, deep=altered)["originals"]
    assert verdict.found is not None
    assert verdict.found.examples == ("radiograph 1",)
    assert verdict.well
    assert stored.read_bytes() == data
    assert found(desk, deep=True) == {}


def test_an_original_that_cannot_be_brought_back_keeps_no_other_from_it(desk: Desk) -> None:
    for seed in (1, 2, 3):
        desk.drop(f"{seed}.png", draw_radiograph(seed))
    desk.take()
    desk.classify()
    desk.inbox.settle()
    for number in (1, 2, 3):
        path_of(desk, number).unlink()
    path_of(desk, 1).mkdir()  # nothing can be written there
    left = found(desk, fix=True)["originals"].left
    assert left is not None
    assert left.examples == ("radiograph 1",)
    assert left.words.startswith("1 radiograph without the original")
    assert "Is a directory" in left.words
    assert path_of(desk, 3).is_file()


def test_a_lost_original_of_dicom_is_brought_back_without_the_patients_name(desk: Desk) -> None:
    for number in (1, 2):
        desk.drop(f"{number}.dcm", dicom(ramp() // number, PatientName="QUILLFEATHER", PatientID=str(number)))
    desk.take()
    desk.classify()
    desk.inbox.settle()
    assert found(desk, deep=True) == {}  # what is stored is not what came, and that is well
    kept = path_of(desk, 1).read_bytes()
    path_of(desk, 1).unlink()
    _turn_a_bit(path_of(desk, 2))
    assert found(desk, fix=True, deep=True)["originals"].well
    assert path_of(desk, 1).read_bytes() == kept
    assert b"QUILLFEATHER" not in kept
    assert found(desk, deep=True) == {}


def test_a_lost_original_without_a_copy_is_left_and_comes_back_with_the_next_upload(desk: Desk) -> None:
    desk.drop("hand.png", draw_radiograph(1))
    desk.take()
    desk.classify()
    desk.inbox.settle()
    path_of(desk, 1).unlink()
    (desk.settings.done / "hand.png").unlink()
    assert not found(desk, fix=True)["originals"].well
    desk.drop("again.png", draw_radiograph(1))
    desk.take()
    assert found(desk, deep=True) == {}


def test_a_store_that_is_not_there_is_one_sentence(desk: Desk) -> None:
    for number in (1, 2, 3):
        desk.drop(f"{number}.png", draw_radiograph(number))
    desk.take()
    store = store_of(desk).folder
    store.rename(store.with_name("unmounted"))
    verdict = found(desk, fix=True)["originals"]
    assert verdict.left is not None
    assert (verdict.left.count, verdict.left.examples) == (1, ())
    assert not store.exists()


def test_half_written_files_are_deleted_when_their_writers_must_be_dead(desk: Desk) -> None:
    incoming = store_of(desk).incoming
    incoming.mkdir()
    for name, seconds in (("young", 0.0), ("old", SAFE_AGE_SECONDS + 1)):
        (incoming / name).write_bytes(b"half")
        age(incoming / name, seconds)
    verdict = found(desk)["half-written files"]
    assert verdict.found is not None
    assert verdict.found.count == 1
    assert found(desk, fix=True)["half-written files"].well
    assert [path.name for path in incoming.iterdir()] == ["young"]


def test_a_folder_among_half_written_files_is_left_alone(desk: Desk) -> None:
    store_of(desk).incoming.mkdir(parents=True)
    (store_of(desk).incoming / "mine").mkdir()
    (store_of(desk).incoming / "00ff").write_bytes(b"half")
    let_pass(desk, 2 * SAFE_AGE_SECONDS)
    assert found(desk, fix=True)["half-written files"].well
    assert [path.name for path in store_of(desk).incoming.iterdir()] == ["mine"]


def test_files_without_a_row_are_deleted_only_when_old_and_only_when_told(desk: Desk) -> None:
    store = store_of(desk)
    kept = [store.path(store.put(data, hashlib.sha256(data).hexdigest())) for data in (b"old", b"young")]
    age(kept[0], SAFE_AGE_SECONDS + 1)
    verdict = found(desk)["forgotten files"]
    assert verdict.found is not None
    assert verdict.found.count == 1
    assert kept[0].exists()
    assert found(desk, fix=True)["forgotten files"].well
    assert [path.exists() for path in kept] == [False, True]


def test_a_content_that_comes_in_again_while_its_forgotten_file_is_deleted_is_kept(desk: Desk) -> None:
    """Whatever the moment at which a clean-up meets an upload: no row without its original."""
    store = store_of(desk)
    contents = [draw_radiograph(seed) for seed in range(40)]
    for data in contents:
        age(store.path(store.put(data, hashlib.sha256(data).hexdigest())), SAFE_AGE_SECONDS + 1)
    start = threading.Barrier(3)

    def upload() -> None:
        start.wait()
        for number, data in enumerate(contents):
            desk.drop(f"{number}.png", data)
        desk.take()

    def heal() -> None:
        start.wait()
        for _ in range(5):
            found(desk, fix=True)

    run_together(upload, heal, heal)
    with desk.database.reading() as session:
        assert session.scalar(select(func.count()).select_from(RadiographRow)) == 40
    assert found(desk, deep=True) == {}
