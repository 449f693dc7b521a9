import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.errors import BrokerUnavailable
from core.queue import MOST_BELLS, announced, app, bells_for, configuration, ring
from core.settings import Settings


@pytest.fixture
def nowhere(tmp_path: Path) -> Iterator[Settings]:
    """Settings whose broker does not exist, in force for Celery's application."""
    settings = Settings(home=tmp_path, broker_url=f"redis+socket://{tmp_path}/no.sock")
    before = {name: app.conf[name] for name in ("broker_url", "broker_transport_options")}
    app.conf.update({name: configuration(settings)[name] for name in before})
    yield settings
    app.conf.update(before)


@pytest.mark.parametrize(("jobs", "bells"), [(1, 1), (8, 1), (9, 2), (200, 25), (100_000, MOST_BELLS)])
def test_there_is_one_bell_a_batch_within_reason(jobs: int, bells: int) -> None:
    assert bells_for(jobs, Settings(batch_size=8)) == bells


def test_a_broker_that_is_away_is_said_soon_and_as_our_own_error(nowhere: Settings) -> None:
    began = time.monotonic()
    for call in (lambda: ring(100, nowhere), announced):
        with pytest.raises(BrokerUnavailable, match="does not answer"):
            call()
    assert time.monotonic() - began < 10


def test_ticks_of_the_clock_never_stand_behind_bells() -> None:
    celery = configuration(Settings())
    assert celery["task_routes"]["fracture.reconcile"]["queue"] != celery["task_default_queue"]


def test_a_tick_also_reaches_a_worker_whose_clock_is_minutes_ahead() -> None:
    tick = configuration(Settings())["beat_schedule"]["reconcile"]
    assert tick["options"]["expires"] > 300


def test_children_start_with_spawn_and_have_time_to_load(settings: Settings) -> None:
    celery = configuration(settings)
    assert celery["worker_pool_start_method"] == "spawn"
    assert celery["worker_proc_alive_timeout"] > 10
    assert celery["accept_content"] == ["json"]
