"""Images per second and memory of each engine, over batch sizes, threads and processes, in turns."""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.engine_process import ENGINES, Seat, serve
from benchmarks.measured import Measured, Part, ratio
from benchmarks.networks import peak_operations_per_second, write_onnx
from core.bundle import Bundle

#: Modules that an engine needs; one that is not installed is left out, and the notes say so.
_NEEDS = {
    "litert": "ai_edge_litert",
    "keras predict": "tensorflow",
    "tf.function": "tensorflow",
    "openvino": "openvino",
    "openvino bf16": "openvino",
    "onnxruntime": "onnxruntime",
}
_BATCHES = {"litert": (1,), "keras predict": (1, 8, 32), "tf.function": (1, 8, 32), "onnxruntime": (1, 8)}
_OTHER_BATCHES = (1, 8)
#: Longest time for a process to load its engine and answer once, in seconds.
_PATIENCE = 300.0
_DEFAULT = "litert"
_REFERENCE = "keras predict"


@dataclass
class _Contestant:
    """One way to run the network on all cores: processes that measure at the same time."""

    seat: Seat
    processes: int
    ends: list[Any] = field(default_factory=list)
    answers: NDArray[np.float32] | None = None
    rates: list[float] = field(default_factory=list)  # images per second, all processes together
    memory: float = 0.0  # MiB, peak of one process

    @property
    def name(self) -> str:
        return (
            f"{self.seat.engine}, {self.processes} x {self.seat.threads} threads, batch {self.seat.batch}"
            if self.processes > 1
            else f"{self.seat.engine}, {self.seat.threads} threads, batch {self.seat.batch}"
        )

    def start(self, stack: ExitStack, bundle: Bundle, onnx: Path, pictures: NDArray[np.uint8]) -> None:
        spawn = multiprocessing.get_context("spawn")
        for _ in range(self.processes):
            here, there = spawn.Pipe()
            process = spawn.Process(target=serve, args=(there, self.seat, bundle.folder, onnx, pictures), daemon=True)
            process.start()
            there.close()
            self.ends.append(here)
            stack.callback(process.join, 10)
            stack.callback(_end, here)
        for end in self.ends:
            self.answers = _receive(end, self.name)

    def measure(self, seconds: float) -> None:
        for end in self.ends:
            end.send(seconds)
        found = [_receive(end, self.name) for end in self.ends]
        self.rates.append(sum(images / taken for images, taken, _ in found))
        self.memory = max(self.memory, *(memory for _, _, memory in found))


def measure_engines(
    bundle: Bundle, pictures: NDArray[np.uint8], *, rounds: int, seconds: float, engines: Sequence[str] = ()
) -> Part:
    """Let every engine that is installed run the bundle's network.

    Args:
        bundle: With both of its network files.
        pictures: (N, side, side, channels) uint8, as serving makes them.
        rounds: How often each has its turn; a turn before them does not count.
        seconds: Length of a turn.
        engines: Which of them; none: all. The default engine always has its turn.
    """
    cores = len(os.sched_getaffinity(0))
    wanted = [name for name in ENGINES if not engines or name in (*engines, _DEFAULT)]
    installed = [name for name in wanted if importlib.util.find_spec(_NEEDS[name])]
    missing = [name for name in wanted if name not in installed]
    with ExitStack() as stack:
        onnx = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "network.onnx"
        operations = _apart(write_onnx, bundle, onnx)
        contestants = list(_contestants(installed, cores))
        for contestant in contestants:
            contestant.start(stack, bundle, onnx, pictures)
        for turn in range(rounds + 1):
            for contestant in contestants:
                contestant.measure(seconds if turn else min(seconds, 0.3))
    for contestant in contestants:
        del contestant.rates[0]
    peak = peak_operations_per_second()
    return _part(bundle, contestants, operations, peak, missing)


def _contestants(installed: Sequence[str], cores: int) -> Iterator[_Contestant]:
    for engine in installed:
        for batch in _BATCHES.get(engine, _OTHER_BATCHES):
            yield _Contestant(Seat(engine, batch, cores), 1)
            if cores > 1 and engine != _REFERENCE:
                yield _Contestant(Seat(engine, batch, 1), cores)


def _part(
    bundle: Bundle, contestants: Sequence[_Contestant], operations: int, peak: float, missing: Sequence[str]
) -> Part:
    figures = {each.name: Measured(each.name, "images/s", tuple(each.rates)) for each in contestants}
    best = {
        engine: max(
            (each for each in contestants if each.seat.engine == engine), key=lambda each: np.median(each.rates)
        )
        for engine in dict.fromkeys(each.seat.engine for each in contestants)
    }
    default = best[_DEFAULT]
    rows = []
    for each in contestants:
        figure = figures[each.name]
        against = ratio("", figure, figures[default.name])
        rows.append(
            (
                each.name,
                figure.shown(),
                f"{against.median:.2f}",
                f"{figure.median * operations / peak:.0%}",
                f"{each.memory * each.processes:.0f}",
                f"{_difference(each, default):.0e}",
            )
        )
    notes = [
        f"{bundle.card.name} {bundle.card.version}, {bundle.card.side} px, "
        f"{operations / 1e9:.2f} GFLOP an image; peak of the cores {peak / 1e9:.0f} GFLOP/s (float32 matrix product)."
    ]
    for engine, each in best.items():
        if engine != _DEFAULT:
            found = ratio(f"{_DEFAULT} / {engine}", figures[default.name], figures[each.name])
            figures[found.name] = found
            difference = Measured(f"{engine} differs by", "probability", (_difference(each, default),))
            figures[difference.name] = difference
            notes.append(f"{_DEFAULT} against {engine}, each at its best: {found.shown(2)}.")
    if missing:
        notes.append(f"Not installed, left out: {', '.join(missing)}.")
    head = ("engine", "images/s", f"of {_DEFAULT}", "of the peak", "MiB", "differs by")
    return Part(f"Engines: {bundle.card.name}", head, tuple(rows), tuple(notes), figures)


def _difference(one: _Contestant, other: _Contestant) -> float:
    if one.answers is None or other.answers is None:
        raise ValueError("a contestant has not answered")
    return float(np.abs(one.answers - other.answers).max())


def _apart(function: Any, *arguments: Any) -> Any:
    """Run a function in a process of its own, so that this one never loads TensorFlow."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def _receive(end: Any, name: str) -> Any:
    if not end.poll(_PATIENCE):
        raise TimeoutError(f"{name} has not answered for {_PATIENCE:g} s")
    return end.recv()


def _end(end: Any) -> None:
    with suppress(OSError):  # the process may have died
        end.send(None)
    end.close()
