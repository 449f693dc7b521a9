"""The simulation agrees with what can be worked out with pencil and paper."""

import json
import math
import random
from pathlib import Path

import pytest

from benchmarks.costs import Costs
from benchmarks.scaling import (
    COSTS_FILE,
    LAYOUTS,
    Layout,
    Station,
    main,
    measure_scaling,
    most_per_second,
    read_costs,
    simulate,
)

COSTS = Costs(
    image_seconds=0.016,
    database_seconds=0.001,
    beat_seconds=0.001,
    skipped_row_seconds=0.0,
    message_seconds=0.0001,
    read_seconds=0.0005,
    write_seconds=0.005,
)


def exactly(_: random.Random, mean: float) -> float:
    return mean


def test_one_worker_takes_the_sum_of_all_times() -> None:
    stations = (Station("database", 0.2), Station("store", 0.05, 4), Station("workers", 1.0, None))
    found = simulate(stations, 1, batches=50, draw=exactly)
    assert found.batches_per_second == pytest.approx(1 / 1.25)
    assert found.busy == pytest.approx({"database": 0.2 / 1.25, "store": 0.05 / 1.25 / 4})
    assert found.bottleneck == "workers"


def test_workers_that_never_meet_grow_evenly() -> None:
    stations = (Station("workers", 0.5, None), Station("database", 0.01, 100))
    for count in (2, 10, 50):
        assert simulate(stations, count, batches=500, draw=exactly).batches_per_second == pytest.approx(
            count / 0.51, rel=0.05
        )


@pytest.mark.parametrize(("servers", "seconds"), [(1, 0.2), (4, 0.5)])
def test_many_workers_do_what_the_slowest_part_can(servers: int, seconds: float) -> None:
    stations = (Station("workers", 1.0, None), Station("database", seconds, servers), Station("store", 0.01))
    found = simulate(stations, 100, batches=3000)
    limit, name = most_per_second(stations)
    assert (limit, name) == (servers / seconds, "database")
    assert found.batches_per_second == pytest.approx(limit, rel=0.05)
    assert found.bottleneck == "database"
    assert found.busy["database"] > 0.99


@pytest.mark.parametrize("workers", [2, 5, 20])
def test_it_agrees_with_the_closed_form_of_one_server_and_a_finite_number_of_customers(workers: int) -> None:
    """M/M/1//N, the machine repairman: the server idles with probability 1 / sum of N! / (N - k)! (s / z)^k."""
    server, away = 0.1, 0.7
    terms = [math.perm(workers, k) * (server / away) ** k for k in range(workers + 1)]
    expected = (1 - 1 / sum(terms)) / server
    stations = (Station("workers", away, None), Station("database", server))
    found = simulate(stations, workers, batches=20_000)
    assert found.batches_per_second == pytest.approx(expected, rel=0.03)
    assert found.busy["database"] == pytest.approx(1 - 1 / sum(terms), rel=0.03)


def test_the_same_seed_gives_the_same_figures() -> None:
    stations = Layout("").stations(COSTS, 20)
    assert simulate(stations, 20, batches=300) == simulate(stations, 20, batches=300)


def test_what_is_changed_moves_the_limit() -> None:
    limits = [most_per_second(each.stations(COSTS, 100))[0] * each.batch for each in LAYOUTS]
    assert limits == sorted(limits)
    assert limits[-1] > 2 * limits[0]
    # an open claim that others have to skip costs them
    slower = most_per_second(LAYOUTS[0].stations(Costs(**{**vars(COSTS), "skipped_row_seconds": 1e-4}), 100))[0]
    assert slower < most_per_second(LAYOUTS[0].stations(COSTS, 100))[0]


def test_the_table_is_made_of_ratios_and_names_what_holds_it_up() -> None:
    [part] = measure_scaling(COSTS, LAYOUTS[:1], (1, 2, 500))
    assert [row[0] for row in part.rows] == ["1", "2", "500"]
    assert part.rows[0][1:3] == ("1.0", "1.00")
    assert 1.9 <= float(part.rows[1][1]) <= 2.1
    assert part.rows[0][-1] == "workers"
    assert part.rows[-1][-1].startswith("database")


def test_the_costs_that_are_kept_can_be_read_and_the_command_prints_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept, where = read_costs(COSTS_FILE)
    assert all(value > 0 for name, value in vars(kept).items() if name != "skipped_row_seconds")
    assert where["cpu_count"] >= 1
    file = tmp_path / "costs.json"
    file.write_text(json.dumps({"machine": {"cpu_count": 2, "load_avg_1min": 8.0}, "costs": vars(COSTS)}))
    main(["--costs", str(file), "--workers", "1", "3", "--batch", "8", "--json"])
    document = json.loads(capsys.readouterr().out)
    assert [row[0] for row in document["layouts"][0]["rows"]] == ["1", "3"]
