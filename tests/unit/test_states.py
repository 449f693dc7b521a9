"""Who is busy, idle, wedged, dead, or silent for reasons that nobody knows."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from core.processes import Sight
from core.states import Scene, WorkerState, judge, judge_main
from core.tables import WorkerRow

AT = datetime(2026, 1, 31, 8, 0, tzinfo=UTC)
SIGHT = Sight(born=7, stopped=False, waits_for_disk=False, processor_seconds=1.0, memory_bytes=1)
SEEN = {"born": 7, "stopped": False, "at_work": False}


def process(name: str = "worker@ward:41", silent: float = 1, **values: Any) -> WorkerRow:
    role, _, rest = name.partition("@")
    host, _, pid = rest.partition(":")
    given = {"main": "main@ward:40" if role == "worker" else None, "place": "here", "born": 7, "idle_since": AT}
    seen_at = AT - timedelta(seconds=silent)
    return WorkerRow(name=name, role=role, host=host, pid=int(pid), seen_at=seen_at, **(given | values))


def main(silent: float = 1, **values: Any) -> WorkerRow:
    given = {"connected": True, "turned_at": AT - timedelta(seconds=silent), "children": {"41": SEEN}}
    return process("main@ward:40", silent, **(given | values))


def scene(*rows: WorkerRow, place: str = "elsewhere", sight: Sight | None = SIGHT, **more: Any) -> Scene:
    """Heartbeats come every 5 s and batches may take 60, as by default."""
    settings: dict[str, Any] = {"beat_seconds": 5, "batch_limit_seconds": 60, "place": place}
    return Scene(at=AT, rows=rows, look=lambda _: sight, **(settings | more))


def state_of(worker: WorkerRow, *others: WorkerRow, held: float | None = None, **more: Any) -> WorkerState:
    return judge(worker, scene(worker, *others, **more), held).state


def test_whoever_beats_is_busy_with_work_in_hand_and_idle_without() -> None:
    assert state_of(process(), main(), held=3) == "busy"
    assert state_of(process(), main()) == "idle"


def test_a_long_batch_on_a_slow_machine_is_busy_and_one_beyond_the_limit_is_wedged() -> None:
    assert state_of(process(), main(), held=59) == "busy"
    assert state_of(process(), main(), held=76) == "wedged"


def test_a_stopped_process_is_wedged_as_soon_as_its_main_process_says_so() -> None:
    assert state_of(process(silent=4), main(silent=1, children={"41": SEEN | {"stopped": True}}), held=4) == "wedged"


@pytest.mark.parametrize("held", [None, 16])
def test_a_silent_process_that_computes_is_busy_because_it_loads_a_network(held: float | None) -> None:
    computing = main(children={"41": SEEN | {"at_work": True}})

    assert state_of(process(silent=40), computing, held=held) == "busy"
    assert state_of(process(silent=80), computing, held=80) == "wedged"


def test_a_silent_process_that_does_nothing_is_wedged_within_half_a_minute() -> None:
    assert state_of(process(silent=16), main()) == "unknown"
    assert state_of(process(silent=25), main()) == "wedged"


def test_a_process_that_its_main_process_misses_is_dead() -> None:
    assert state_of(process(silent=16), main(children={})) == "dead"
    assert state_of(process(silent=16), main(children={"41": SEEN | {"born": 8}})) == "dead"  # the number came again
    assert state_of(process(silent=2), main(children={})) == "idle"  # it has just begun


def test_processes_of_a_main_process_that_hangs_work_on_and_then_are_wedged() -> None:
    worker, hanging = process(), main(silent=16)
    here = scene(worker, hanging, place="here", sight=replace(SIGHT, stopped=True))

    assert judge(worker, here, 3.0).state == "busy"
    assert judge(worker, here, None).state == "wedged"
    assert judge_main(hanging, here, any_busy=True).state == "wedged"
    assert judge_main(hanging, scene(worker, hanging), any_busy=True).state == "wedged"  # seen from elsewhere too


def test_a_worker_that_is_gone_is_dead_at_once_here_and_elsewhere_within_half_a_minute() -> None:
    worker, gone, other = process(silent=16), main(silent=16), process("inbox@ward:9")

    for judged in (
        judge(worker, scene(worker, gone, place="here", sight=None), None),
        judge_main(gone, scene(worker, gone, place="here", sight=replace(SIGHT, born=8)), any_busy=False),
    ):
        assert judged.state == "dead"
    assert state_of(worker, gone, other) == "unknown"
    worker, gone = process(silent=26), main(silent=26)
    assert state_of(worker, gone, other) == "dead"
    assert judge_main(gone, scene(worker, gone, other), any_busy=False).state == "dead"


def test_when_nobody_is_heard_the_database_may_be_at_fault_and_nobody_is_dead() -> None:
    worker, silent = process(silent=300), main(silent=300)

    assert state_of(worker, silent) == "unknown"
    assert judge_main(silent, scene(worker, silent, place="here"), any_busy=False).state == "unknown"


def test_a_main_process_whose_loop_stands_still_is_wedged() -> None:
    still = main(turned_at=AT - timedelta(seconds=20))

    assert judge_main(still, scene(still), any_busy=False).state == "wedged"
    assert judge_main(main(), scene(main()), any_busy=True).state == "busy"


def test_a_worker_without_a_broker_waits_and_only_one_that_misses_a_broker_which_answers_is_wedged() -> None:
    cut_off = main(connected=False, turned_at=AT - timedelta(seconds=90))

    assert judge_main(cut_off, scene(cut_off, broker_answers=False), any_busy=False).state == "idle"
    assert judge_main(cut_off, scene(cut_off, broker_answers=True), any_busy=False).state == "wedged"
    assert judge_main(main(connected=False, turned_at=None), scene(), any_busy=False).state == "idle"  # it begins


def test_who_takes_no_bell_for_long_is_wedged_although_it_beats() -> None:
    resting = process(idle_since=AT - timedelta(seconds=20))

    assert state_of(resting, main(), untaken_seconds=20) == "wedged"
    assert state_of(resting, main(), untaken_seconds=2) == "idle"  # they were rung this moment
    assert state_of(process(), main(), untaken_seconds=20) == "idle"  # it has just ended a task
    assert state_of(resting, main(), untaken_seconds=20, held=1) == "busy"
