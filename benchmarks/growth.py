"""Does cost grow faster than the work? Seconds per image in small and large drops, and memory over many images."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from benchmarks.measured import Measured, Part, ratio
from benchmarks.pictures import Pictures
from benchmarks.system import System, running

_MIB = 2**20
_ROLES = ("worker", "web", "inbox", "beat", "redis")


def measure_growth(place: Path, models: Path, pictures: Pictures, *, rounds: int, sizes: tuple[int, int, int]) -> Part:
    """Drop few, more and many files at once, turn by turn; look at the processes' memory after more and after many.

    Args:
        place: An empty folder.
        models: Bundles, all of which are active.
        pictures: Supply files.
        rounds: How many turns.
        sizes: Files of the three drops of a turn, rising.

    Raises:
        BenchmarkFailed: A file is not answered.
    """
    seconds: dict[int, list[float]] = {size: [] for size in sizes}
    before: dict[str, list[float]] = {}
    after: dict[str, list[float]] = {}
    with running(place / "home", models) as system:
        _drop(system, pictures.write(place / "first", sizes[0]))
        for turn in range(rounds):
            for size in sizes:
                if size == sizes[-1]:
                    _add(before, _memory(system))
                seconds[size].append(_drop(system, pictures.write(place / f"{size}-{turn}", size)))
            _add(after, _memory(system))
    figures = _marginal(seconds)
    for name, values in after.items():
        one, other = Measured(f"{name} before", "MiB", tuple(before[name])), Measured(name, "MiB", tuple(values))
        growth = ratio(f"{name} after / before", other, one)
        figures |= {each.name: each for each in (other, growth)}
    rows = tuple((each.name, each.unit, each.shown(3 if each.unit != "MiB" else 0)) for each in figures.values())
    notes = (
        f"Drops of {', '.join(f'{size:,}' for size in sizes)} files in each turn, {pictures.words}; from the first "
        f"`received_at` to the last `finished_at`. Memory is resident, before and after the drop of {sizes[-1]:,}.",
    )
    return Part("Growth", ("", "unit", "median (range) of the turns"), rows, notes, figures)


def _marginal(seconds: dict[int, list[float]]) -> dict[str, Measured]:
    """Return the time that one image more takes, between each size and the next, and how the two compare."""
    sizes = list(seconds)
    found = []
    for small, large in pairwise(sizes):
        pairs = zip(seconds[small], seconds[large], strict=True)
        each = tuple(1000 * (more - less) / (large - small) for less, more in pairs)
        found.append(Measured(f"one image more, {small:,} to {large:,}", "ms", each))
    compared = ratio("one image more, large / small drops", found[1], found[0])
    return {each.name: each for each in (*found, compared)}


def _drop(system: System, files: Sequence[Path]) -> float:
    before, ended = system.newest(), system.ended()
    system.drop(list(files))
    system.wait_for(ended + len(files))
    return system.seconds_since(before)


def _memory(system: System) -> dict[str, float]:
    """Return the resident memory of each role, in MiB; of the worker's pool that of the largest process."""
    found = {}
    for role in _ROLES:
        first, *others = [process.memory_info().rss / _MIB for process in system.processes(role)]
        found[f"{role} (main)" if role == "worker" else role] = first
        if others:
            found[f"{role} (classifying)"] = max(others)
    return found


def _add(found: dict[str, list[float]], values: dict[str, float]) -> None:
    for name, value in values.items():
        found.setdefault(name, []).append(value)
