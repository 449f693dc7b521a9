"""`make testbed`: thousands of radiographs over three workers, one cut off for a minute and one added midway.

    python -m chaos.testbed [--files N] [--images DIR] [--json]

Exit code 1 if a radiograph was lost, doubled or altered, or a worker got nothing to do.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from benchmarks.pictures import Pictures
from chaos.check import compare
from chaos.testbed.bed import Bed, department
from chaos.testbed.network import Network, open_network
from chaos.trial import TrialFailed, wait_until
from core.errors import FractureError

#: When the one is cut off and the other is added, as shares of the work.
_CUT_AT, _ADDED_AT = 0.15, 0.35
#: Longest time without any job ending, in seconds.
_STANDSTILL = 180.0


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--files", type=click.IntRange(50), default=3000, show_default=True, help="Radiographs.")
@click.option("--images", type=click.Path(path_type=Path), help="Radiographs to encode again.  [default: drawn ones]")
@click.option(
    "--cut-seconds", type=click.FloatRange(1), default=60.0, show_default=True, help="How long one is cut off."
)
@click.option("--processes", type=click.IntRange(1), default=1, show_default=True, help="Of each worker.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def main(files: int, images: Path | None, cut_seconds: float, processes: int, as_json: bool) -> None:
    """Put several machines to the test on this one."""
    network = open_network()
    try:
        with TemporaryDirectory(prefix="fracture-testbed-", ignore_cleanup_errors=True) as folder:
            Path(folder).chmod(0o755)  # PostgreSQL runs as a user of its own, who has to come by
            with department(network, Path(folder), processes=processes) as bed:
                found = run(
                    network, bed, Pictures(images), files, cut_seconds, lambda words: click.echo(words, err=True)
                )
    except FractureError as error:
        click.echo(f"fracture-queue: {error}", err=True)
        sys.exit(2)
    click.echo(json.dumps(found, indent=2) if as_json else as_text(found))
    sys.exit(0 if found["clean"] else 1)


def run(
    network: Network, bed: Bed, pictures: Pictures, files: int, cut_seconds: float, say: Any = lambda _: None
) -> dict[str, Any]:
    """Drop all at once, cut off and add a worker, wait, and check.

    Returns:
        `network`, `files`, `seconds`, `answered` by machine, `held_when_cut`, `freed_after_seconds` (until the machine
        that was cut off held nothing), `begun_again`, `verdict`, `clean`.

    Raises:
        TrialFailed: Nothing goes on any more.
    """
    cut, _ = bed.add_worker("worker-1"), bed.add_worker("worker-2")
    wanted = set()
    waiting = bed.settings.home / "drop"
    for path in pictures.write(waiting, files):
        wanted.add(hashlib.sha256(path.read_bytes()).hexdigest())
    with bed.database.reading() as session:
        questions = _questions(session)
    jobs, began = files * questions, time.monotonic()
    waiting.rename(bed.settings.inbox / "drop")
    say(f"{files} radiographs, {jobs} jobs, over {network.words}")

    _progress(bed, lambda done: done >= _CUT_AT * jobs, say)
    _progress(bed, lambda _: bed.holding()[cut.name] > 0, say)
    bed.cut(cut)
    cut_at, held, freed_after, added, joined = time.monotonic(), bed.holding()[cut.name], None, False, False
    say(f"{cut.name} is cut off with {held} jobs in hand")

    def all_happened(done: int) -> bool:
        nonlocal freed_after, added, joined
        since = time.monotonic() - cut_at
        if freed_after is None and bed.holding()[cut.name] == 0:
            freed_after = since
            say(f"nothing is held by it any more after {since:.0f} s")
        if not added and done >= _ADDED_AT * jobs:
            bed.add_worker("worker-3")
            added = True
            say("worker-3 is added")
        if not joined and since >= cut_seconds:
            bed.join(cut)
            joined = True
            say(f"{cut.name} is back")
        return joined and done >= jobs

    _progress(bed, all_happened, say)
    seconds = time.monotonic() - began
    wait_until(lambda: bed.left() == 0, "all files are put away")
    verdict = compare(bed.database, wanted, bed.original, left=bed.left())
    answered = bed.answered()
    return {
        "network": network.words,
        "files": files,
        "seconds": round(seconds, 1),
        "answered": dict(sorted(answered.items())),
        "held_when_cut": held,
        "freed_after_seconds": None if freed_after is None else round(freed_after, 1),
        "begun_again": bed.begun_again(),
        "verdict": {name: getattr(verdict, name) for name in ("given", "lost", "doubled", "altered", "left")},
        "clean": verdict.is_clean and all(answered[f"worker-{number}"] for number in (1, 2, 3)),
    }


def as_text(found: dict[str, Any]) -> str:
    """Write what was found for a terminal."""
    total = sum(found["answered"].values())
    freed = found["freed_after_seconds"]
    return "\n".join(
        [
            f"Over {found['network']}:",
            *(f"  {name}: {number} answers, {number / total:.0%}" for name, number in found["answered"].items()),
            f"Cut off with {found['held_when_cut']} jobs in hand; "
            + ("they were taken over only when it was back." if freed is None else f"after {freed:g} s it held none."),
            f"{found['begun_again']} jobs were begun more than once. {found['seconds']:g} s in all.",
            ", ".join(f"{name} {number}" for name, number in found["verdict"].items()) + ".",
        ]
    )


def _progress(bed: Bed, holds: Any, say: Any) -> None:
    """Wait until something holds of the number of jobs that ended; not for ever while nothing ends."""
    seen, since, told = -1, time.monotonic(), time.monotonic()
    while not holds(done := bed.ended()):
        if done > seen:
            seen, since = done, time.monotonic()
        elif time.monotonic() - since > _STANDSTILL:
            raise TrialFailed(f"Nothing has ended for {_STANDSTILL:g} s, at {done} jobs.\n{bed.last_words()}")
        if time.monotonic() - told > 15:
            told = time.monotonic()
            say(f"{done} jobs have ended; in hand: {dict(bed.holding())}")
        time.sleep(0.2)


def _questions(session: Any) -> int:
    from core.records.models import active_models

    return len(active_models(session))


if __name__ == "__main__":
    main()
