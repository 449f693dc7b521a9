"""The parts of the benchmark, as `fracture-queue bench` runs them."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.databases import has_postgresql, postgresql_database, sqlite_database
from benchmarks.engines import measure_engines
from benchmarks.growth import measure_growth
from benchmarks.ingest import measure_ingest
from benchmarks.latency import measure_latency
from benchmarks.many_rows import fill
from benchmarks.measured import Part
from benchmarks.pictures import Pictures
from benchmarks.pipeline import measure_pipeline
from benchmarks.plain_model import make_plain_bundle
from benchmarks.queries import measure_queries
from benchmarks.watching import measure_watching
from core.bundle import Bundle, find_bundles
from core.errors import ModelNotFound
from core.preprocessing import read_model_input
from core.settings import Settings

#: Pictures that an engine is given in turn.
_SHOWN = 32
#: Share of the files that the peer is given: it takes ten times as long for each.
_PEER_SHARE = 0.1
#: Of the files of a turn: how many times as many a bulk drop has, and one in how many is uploaded singly.
_BULK_DROPS, _SINGLES = 4, 20
#: One in how many of them is in the smallest drop that growth is measured with; the largest has a hundred times that.
_FEW_FILES = 6
_MAX_PIXELS = 64_000_000
#: Radiographs in the database that the large one is compared with.
_FEW_ROWS = 10_000


@dataclass(frozen=True)
class Options:
    """What the user chose."""

    images: Path | None
    rounds: int
    files: int
    seconds: float
    rows: int = 1_000_000  # radiographs in the larger database
    engines: Sequence[str] = ()  # which of them; none: all


def run(name: str, place: Path, options: Options, environment: Mapping[str, str]) -> Iterator[Part]:
    """Measure one part.

    Args:
        name: One of `cli.commands.bench.PARTS`.
        place: An empty folder on the disk that is to be measured.
        options: The user's.
        environment: Whose settings name the models.
    """
    if name == "query":
        yield from _queries(place, options)
        return
    pictures, rounds, files = Pictures(options.images), options.rounds, options.files
    models = place / "plain"
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        plain: Bundle = pool.apply(make_plain_bundle, [models])
    work = place / "work"
    if name == "engines":
        for bundle in (plain, *_shipped(environment)):
            shown = _inputs(pictures, bundle)
            yield measure_engines(bundle, shown, rounds=rounds, seconds=options.seconds, engines=options.engines)
    elif name == "pipeline":
        peer_files = max(8, round(files * _PEER_SHARE))
        for bundle in (plain, *_first_of_each_question(_shipped(environment))):
            alone = place / f"only-{bundle.card.name}" / bundle.card.name
            alone.mkdir(parents=True)
            (alone / bundle.card.version).symlink_to(bundle.folder)
            yield measure_pipeline(
                work / bundle.card.name,
                bundle,
                alone.parent,
                pictures,
                rounds=rounds,
                files=files,
                peer_files=peer_files,
            )
    elif name == "latency":
        bulk, singles = files * _BULK_DROPS, max(5, files // _SINGLES)
        yield measure_latency(work, plain, models, pictures, rounds=rounds, files=bulk, singles=singles)
    elif name == "watching":
        yield measure_watching(work, models, pictures, rounds=rounds, files=files)
    elif name == "ingest":
        yield measure_ingest(work, models, pictures, rounds=rounds, files=files)
    else:
        few = files // _FEW_FILES
        yield measure_growth(work, models, pictures, rounds=rounds, sizes=(few, 10 * few, 100 * few))


def _queries(place: Path, options: Options) -> Iterator[Part]:
    makers = [("sqlite", sqlite_database), *([("postgresql", postgresql_database)] if has_postgresql() else [])]
    for kind, make in makers:
        with ExitStack() as stack:
            databases = {}
            for size in sorted({min(_FEW_ROWS, options.rows), options.rows}):
                databases[size] = stack.enter_context(make(place / kind, f"rows_{size}"))
                fill(databases[size], size)
            yield measure_queries(databases, rounds=options.rounds)


def as_text(part: Part) -> Iterator[str]:
    """Yield a part's lines for a terminal."""
    yield f"\n{part.title}\n"
    widths = [max(map(len, column)) for column in zip(part.head, *part.rows, strict=True)]
    for row in (part.head, *part.rows):
        first, *rest = row
        cells = [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
        yield "  ".join([first.ljust(widths[0]), *cells])
    yield ""
    yield from part.notes


def _shipped(environment: Mapping[str, str]) -> Sequence[Bundle]:
    try:
        return find_bundles(Settings.from_env(environment).models)
    except ModelNotFound:
        return ()


def _first_of_each_question(bundles: Sequence[Bundle]) -> list[Bundle]:
    """Return those that a new installation has active."""
    first: dict[str, Bundle] = {}
    for bundle in bundles:
        first.setdefault(bundle.card.task, bundle)
    return list(first.values())


def _inputs(pictures: Pictures, bundle: Bundle) -> NDArray[np.uint8]:
    card = bundle.card
    return np.stack(
        [
            read_model_input(content, side=card.side, channels=card.channels, max_pixels=_MAX_PIXELS)
            for content in pictures.make(_SHOWN)
        ]
    )
