from pathlib import Path

import pytest

from worker.settling import EMPTY_PATIENCE, Look, StabilityTracker, is_ignored

A, B = Path("/inbox/a.png"), Path("/inbox/b.png")
LOOK = Look(size=100, modified_ns=5)


@pytest.fixture
def tracker() -> StabilityTracker:
    """Two seconds of quiet make a file ready."""
    return StabilityTracker(2.0)


def test_a_file_is_ready_when_it_was_quiet_for_long_enough(tracker: StabilityTracker) -> None:
    assert [tracker.see(A, LOOK, now) for now in (10.0, 11.0, 11.9, 12.0)] == [False, False, False, True]


def test_a_file_seen_for_the_first_time_is_never_ready_however_old_it_looks(tracker: StabilityTracker) -> None:
    assert not tracker.see(A, Look(size=100, modified_ns=0), 1e9)


@pytest.mark.parametrize("change", [Look(101, 5), Look(99, 5), Look(100, 6), Look(100, 4)])
def test_any_change_of_size_or_time_starts_the_wait_again(tracker: StabilityTracker, change: Look) -> None:
    tracker.see(A, LOOK, 0.0)
    assert not tracker.see(A, change, 5.0)
    assert not tracker.see(A, change, 6.9)
    assert tracker.see(A, change, 7.0)


def test_a_file_that_grows_in_steps_waits_for_the_last_one(tracker: StabilityTracker) -> None:
    steps = [tracker.see(A, Look(size, size), now) for now, size in enumerate((1, 5, 5, 9, 12, 12))]
    assert not any(steps)
    assert tracker.see(A, Look(12, 12), 6.0)


def test_an_empty_file_waits_longer_because_it_is_often_the_start_of_a_copy(tracker: StabilityTracker) -> None:
    empty = Look(size=0, modified_ns=5)
    tracker.see(A, empty, 0.0)
    assert not tracker.see(A, empty, 2.0 * EMPTY_PATIENCE - 0.1)
    assert tracker.see(A, empty, 2.0 * EMPTY_PATIENCE)


def test_each_file_has_a_clock_of_its_own(tracker: StabilityTracker) -> None:
    tracker.see(A, LOOK, 0.0)
    tracker.see(B, LOOK, 1.5)
    assert tracker.see(A, LOOK, 2.0)
    assert not tracker.see(B, LOOK, 2.0)
    assert tracker.see(B, LOOK, 3.5)


def test_what_may_be_ready_is_named_longest_quiet_first(tracker: StabilityTracker) -> None:
    tracker.see(B, LOOK, 0.0)
    tracker.see(A, LOOK, 1.0)
    assert tracker.due(1.9) == []
    assert tracker.due(2.5) == [B]
    assert tracker.due(9.0) == [B, A]
    tracker.see(B, Look(7, 7), 9.0)
    assert tracker.due(9.0) == [A]


def test_the_time_until_something_may_be_ready_is_known(tracker: StabilityTracker) -> None:
    assert tracker.seconds_until_due(0.0) is None
    tracker.see(A, LOOK, 10.0)
    tracker.see(B, LOOK, 11.0)
    assert tracker.seconds_until_due(10.5) == 1.5
    assert tracker.seconds_until_due(99.0) == 0.0


def test_a_forgotten_file_is_new_when_it_is_seen_again(tracker: StabilityTracker) -> None:
    tracker.see(A, LOOK, 0.0)
    assert A in tracker
    tracker.forget(A)
    tracker.forget(B)
    assert (A in tracker, len(tracker)) == (False, 0)
    assert not tracker.see(A, LOOK, 100.0)


@pytest.mark.parametrize(
    "name",
    [
        ".hidden.png",
        "._scan.png",
        ".DS_Store",
        "Thumbs.db",
        "desktop.ini",
        "scan.png.part",
        "scan.PARTIAL",
        "scan.tmp",
        "scan.png.crdownload",
        "scan.png.filepart",
        "scan.png~",
        "~$scan.png",
        ".folder/scan.png",
        "study/.git/scan.png",
        "study/._scan.png",
    ],
)
def test_junk_and_unfinished_names_are_left_alone(name: str) -> None:
    assert is_ignored(Path(name))


@pytest.mark.parametrize(
    "name",
    [
        "scan.png",
        "SCAN.PNG",
        "-rf.jpg",
        "no suffix",
        "a.b.c.tif",
        "tmp",
        "part.png",
        "手.webp",
        "study.tmp/scan.png",
        "x" * 255,
    ],
)
def test_other_names_are_meant_for_us(name: str) -> None:
    assert not is_ignored(Path(name))
