"""From one worker process to five hundred: where does it stop to grow, and what moves that point?

    python -m benchmarks.scaling [--costs FILE] [--workers N ...] [--json]

A closed network of queues, simulated with SimPy: each worker process claims a batch, reads and classifies it, stores
the answers, and begins anew, and there is always work. What it passes has a number of servers and a time for each
visit: the database's cores, the one place where its commits follow each other, Redis, the store. Times come from
`benchmarks.claimers`. What the parts do to each other beyond queueing (caches, vacuum, network) is not in it.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import simpy

from benchmarks.costs import Costs
from benchmarks.measured import Part
from benchmarks.parts import as_text

WORKERS = (1, 2, 3, 5, 10, 20, 50, 100, 200, 300, 400, 500)
COSTS_FILE = Path(__file__).with_name("costs.json")
#: Visits that the simulation of one number of workers ends after; a tenth of them is not counted.
_BATCHES = 6_000
_HEARTBEAT_SECONDS = 5.0
#: A part that is busy for this share of the time is what holds the others up.
_SATURATED = 0.9


@dataclass(frozen=True)
class Station:
    """A part that every batch passes."""

    name: str
    seconds: float  # of one batch
    servers: int | None = 1  # None: nobody waits here for anybody


@dataclass(frozen=True)
class Layout:
    """What an installation is made of, beside its workers."""

    name: str
    batch: int = 8
    database_cores: int = 8
    #: Share of the database's time in which batches follow one another: WAL, hot pages. Our assumption, not measured;
    #: what is printed for three claimers against one says whether it is far off.
    serial_share: float = 0.05
    databases: int = 1  # tables partitioned over servers, or installations side by side
    brokers: int = 1
    store_servers: int = 8  # readings at once that do not slow each other down

    def stations(self, costs: Costs, workers: int) -> tuple[Station, ...]:
        """Return what a batch passes, and for how long.

        Args:
            costs: Of one image.
            workers: Processes; open claims of the others have to be skipped.
        """
        image, database = costs.image_seconds * self.batch, costs.database_seconds * self.batch
        # As many claims are open as fit into the time that all are somewhere in the database.
        open_claims = (workers - 1) * database / (image + database) / self.databases
        database += open_claims * self.batch * costs.skipped_row_seconds
        beats = workers / _HEARTBEAT_SECONDS * costs.beat_seconds / self.databases  # share of one core
        cores = max(1, int(self.database_cores - beats)) * self.databases
        return (
            Station("Redis", costs.message_seconds, self.brokers),
            Station("database's cores", database * (1 - self.serial_share), cores),
            Station("database's commits", database * self.serial_share, self.databases),
            Station("store", costs.read_seconds * self.batch, self.store_servers),
            Station("workers", image, None),
        )


#: What can be changed, one thing after the other.
LAYOUTS = (
    Layout("as it ships: batches of 8, 8 cores"),
    Layout("batches of 32", batch=32),
    Layout("batches of 32, 32 cores", batch=32, database_cores=32),
    Layout("batches of 32, 32 cores, 64 readings", batch=32, database_cores=32, store_servers=64),
    Layout("the same, 4 databases, 4 brokers", batch=32, database_cores=32, databases=4, brokers=4, store_servers=256),
)


@dataclass(frozen=True)
class Outcome:
    """What a number of workers does."""

    workers: int
    batches_per_second: float
    busy: dict[str, float]  # share of the time, of each part that has servers

    @property
    def bottleneck(self) -> str:
        """The busiest part, or the workers themselves as long as no part is nearly always busy."""
        name = max(self.busy, key=lambda each: self.busy[each])
        return name if self.busy[name] >= _SATURATED else "workers"


def simulate(
    stations: Sequence[Station],
    workers: int,
    *,
    batches: int = _BATCHES,
    seed: int = 1,
    draw: Callable[[random.Random, float], float] = lambda chance, mean: chance.expovariate(1 / mean),
) -> Outcome:
    """Let workers go round, from station to station.

    Args:
        stations: In the order in which a batch passes them; those without time are left out.
        workers: How many go round.
        batches: Rounds of all together after which it ends.
        seed: Of chance.
        draw: Gives the time of one visit from its mean. Exponential: as uneven as parts of unlike size are.
    """
    world, chance = simpy.Environment(), random.Random(seed)  # noqa: S311 - chance, no secret
    passed = [each for each in stations if each.seconds > 0]
    servers = {each.name: simpy.Resource(world, each.servers) for each in passed if each.servers is not None}
    worked = dict.fromkeys(servers, 0.0)
    ended, enough = [0], world.event()
    counted_from, warm_up = [0.0], max(workers, batches // 10)

    def worker() -> Generator[Any, Any, None]:
        while True:
            for station in passed:
                seconds = draw(chance, station.seconds)
                if station.servers is None:
                    yield world.timeout(seconds)
                    continue
                with servers[station.name].request() as turn:
                    yield turn
                    yield world.timeout(seconds)
                worked[station.name] += seconds
            ended[0] += 1
            if ended[0] == warm_up:
                counted_from[0] = world.now
                worked.update(dict.fromkeys(worked, 0.0))
            if ended[0] == warm_up + batches:
                enough.succeed()

    for _ in range(workers):
        world.process(worker())
    world.run(until=enough)
    spent = world.now - counted_from[0]
    busy = {name: worked[name] / spent / servers[name].capacity for name in servers}
    return Outcome(workers, batches / spent, busy)


def most_per_second(stations: Sequence[Station]) -> tuple[float, str]:
    """Return how many batches a second no number of workers can exceed, and the part that says so."""
    limits = {
        each.name: each.servers / each.seconds for each in stations if each.servers is not None and each.seconds > 0
    }
    name = min(limits, key=lambda each: limits[each])
    return limits[name], name


def measure_scaling(
    costs: Costs, layouts: Sequence[Layout] = LAYOUTS, workers: Sequence[int] = WORKERS
) -> Iterator[Part]:
    """Simulate each layout with each number of workers."""
    for layout in layouts:
        first = simulate(layout.stations(costs, 1), 1)
        rows = []
        for count in workers:
            stations = layout.stations(costs, count)
            found = first if count == 1 else simulate(stations, count)
            limit, _ = most_per_second(stations)
            rows.append(
                (
                    str(count),
                    f"{found.batches_per_second / first.batches_per_second:.1f}",
                    f"{found.batches_per_second / first.batches_per_second / count:.2f}",
                    f"{found.batches_per_second * layout.batch:.0f}",
                    f"{limit * layout.batch:.0f}",
                    found.bottleneck,
                )
            )
        yield Part(
            title=layout.name,
            head=("processes", "to one", "of an even share", "images/s", "at most", "held up by"),
            rows=tuple(rows),
            notes=(),
            figures={},
        )


def read_costs(file: Path) -> tuple[Costs, dict[str, Any]]:
    """Return what was measured, and on which machine."""
    document = json.loads(file.read_text(encoding="utf-8"))
    return Costs(**document["costs"]), document["machine"]


def main(arguments: Sequence[str]) -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    parser.add_argument("--costs", type=Path, default=COSTS_FILE, help="what `benchmarks.claimers --save` wrote")
    parser.add_argument("--workers", type=int, nargs="+", default=WORKERS, help="processes that classify")
    parser.add_argument("--batch", type=int, help="only the first layout, with this many jobs a claim")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    chosen = parser.parse_args(arguments)
    costs, where = read_costs(chosen.costs)
    layouts = LAYOUTS if chosen.batch is None else (replace(LAYOUTS[0], name="one layout", batch=chosen.batch),)
    parts = list(measure_scaling(costs, layouts, chosen.workers))
    if chosen.json:
        rows = [{"layout": each.title, "head": each.head, "rows": each.rows} for each in parts]
        print(json.dumps({"measured_on": where, "costs": vars(costs), "layouts": rows}, indent=1))  # noqa: T201
        return
    for each in parts:
        print("\n".join(as_text(each)))  # noqa: T201 - a command's own output
    print(f"Costs were measured on {where['cpu_count']} cores at a load of {where['load_avg_1min']}.")  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1:])
