"""The broker is a doorbell: losing, doubling or garbling its messages changes nothing."""

import json
from pathlib import Path

import pytest

from core.queue import RECONCILE_TASK, WORK_QUEUE, WORK_TASK, announced, app
from core.tables import ArrivalStatus, JobStatus
from tests.conftest import copy_tables, draw_radiograph, wait_until
from tests.fakes import black_png
from tests.integration.parts import PATIENCE, Installation, RedisServer, talking_to

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.mark.parametrize("forgets", [True, False])
def test_work_that_came_while_the_broker_was_down_is_done_once_after_it_returns_with_or_without_its_data(
    forgets: bool, installation: Installation, redis: RedisServer
) -> None:
    # given: a worker with work in hand and bells in the broker
    installation.start("beat")
    installation.start_worker()
    installation.take_in(*(black_png(3000 + number, 3000) for number in range(30)))
    installation.holder()
    # when: the broker dies; more work comes meanwhile
    redis.kill()
    if forgets:
        redis.forget_everything()
    intake = installation.take_in(*(draw_radiograph(seed) for seed in range(5)))
    assert {arrival.status for arrival in intake.arrivals} == {ArrivalStatus.ACCEPTED}
    redis.start()
    # then
    installation.wait_for(done=35)


def test_a_broker_that_dies_while_one_process_works_and_the_other_waits_costs_nothing(
    installation: Installation, redis: RedisServer
) -> None:
    worker = installation.start_worker()
    for turn in range(1, 4):
        installation.take_in(black_png(7000 + turn, 8000))  # one process has work for a second, the other has none
        installation.holder()
        redis.kill()
        installation.wait_for(done=2 * turn - 1)
        redis.start()
        installation.take_in(draw_radiograph(turn))
        installation.wait_for(done=2 * turn)
    assert worker.poll() is None


def test_a_worker_that_was_idle_when_the_broker_died_works_again(
    installation: Installation, redis: RedisServer
) -> None:
    installation.start("beat")
    worker = installation.start_worker()
    redis.kill()
    installation.take_in(draw_radiograph(1))
    assert installation.count(JobStatus.WAITING) == 1
    redis.start()
    installation.wait_for(done=1)
    assert worker.poll() is None


def test_doubled_garbled_and_unknown_messages_change_nothing(installation: Installation, redis: RedisServer) -> None:
    worker = installation.start_worker()
    with talking_to(installation.settings), app.connection_for_write() as connection:
        producer = app.amqp.Producer(connection)
        for number in range(20):
            app.send_task(WORK_TASK, kwargs={"waiting": number}, producer=producer)
        app.send_task(WORK_TASK, kwargs={"waiting": "many"}, producer=producer)
        app.send_task(WORK_TASK, kwargs={"waiting": 1, "more": [1]}, producer=producer)
        app.send_task(WORK_TASK, args=[1, 2], kwargs={"ids": [3]}, producer=producer)  # as another version might
        app.send_task(RECONCILE_TASK, args=["all"], producer=producer)
        app.send_task("fracture.unknown", args=[1], producer=producer)
        for body, options in (
            ("not a task", {"serializer": "json"}),
            (b"\xff\xfe", {"content_type": "application/x-python-serialize", "content_encoding": "binary"}),
        ):
            producer.publish(body, exchange="", routing_key=WORK_QUEUE, **options)
    installation.take_in(*(draw_radiograph(seed) for seed in range(12)))
    with talking_to(installation.settings), app.connection_for_write() as connection:
        for _ in range(20):
            app.send_task(WORK_TASK, producer=app.amqp.Producer(connection))
    installation.wait_for(done=12)
    with talking_to(installation.settings):
        wait_until(lambda: announced() == 0, within_seconds=PATIENCE, what="all messages were taken")
    installation.take_in(draw_radiograph(100))
    installation.wait_for(done=13)
    assert worker.poll() is None
    assert "unexpected keyword argument" not in installation.log("worker")


def test_a_bell_that_was_taken_is_gone_so_that_none_comes_again_however_long_its_task_runs(
    installation: Installation, redis: RedisServer
) -> None:
    installation.start_worker()
    installation.take_in(*(black_png(4000 + number, 4000) for number in range(40)))
    installation.holder()
    with redis.client() as client:
        # Redis would hide there what was taken, until the visibility timeout, and deliver it again.
        keys = {key.decode() for key in client.scan_iter("fracture-queue:*")}
    assert installation.count(JobStatus.RUNNING) > 0
    assert not any("unacked" in key for key in keys), keys
    installation.wait_for(done=40)


def test_a_purged_queue_does_not_strand_the_work(installation: Installation, redis: RedisServer) -> None:
    installation.take_in(*(draw_radiograph(seed) for seed in range(5)))
    with talking_to(installation.settings):
        assert announced() == 1
        with app.connection_for_write() as connection:
            app.control.purge(connection=connection)
        assert announced() == 0
    installation.start("beat")
    installation.start_worker()
    installation.wait_for(done=5)


def test_two_installations_on_one_broker_do_not_hear_each_other(
    installation: Installation, redis: RedisServer, tmp_path: Path, shipped_models: Path
) -> None:
    other = Installation(
        tmp_path / "other",
        copy_tables(tmp_path / "other.db"),
        redis,
        shipped_models,
        FRACTURE_BROKER_PREFIX="other:",
    )
    try:
        installation.start_worker()
        other.take_in(*(draw_radiograph(seed) for seed in range(3)))
        installation.take_in(*(draw_radiograph(seed) for seed in range(4)))
        installation.wait_for(done=4)
        with talking_to(other.settings):
            assert announced() == 1
        assert other.count(JobStatus.WAITING) == 3
        with redis.client() as client:
            keys = {key.decode() for key in client.scan_iter()}
        assert keys
        assert all(key.startswith(("fracture-queue:", "other:")) for key in keys), keys
        other.start_worker()
        installation.take_in(*(draw_radiograph(seed) for seed in range(10, 14)))
        other.wait_for(done=3)
        installation.wait_for(done=8)
    finally:
        other.close()


def test_a_message_tells_nothing_but_a_count(installation: Installation, redis: RedisServer) -> None:
    installation.take_in(draw_radiograph(1))
    with redis.client() as client:
        (message,) = client.lrange("fracture-queue:work", 0, -1)
    envelope = json.loads(message)
    assert envelope["headers"]["task"] == WORK_TASK
    assert json.loads(envelope["headers"]["kwargsrepr"].replace("'", '"')) == {"waiting": 1}
