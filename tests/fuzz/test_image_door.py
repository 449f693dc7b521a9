"""Damaged pictures: a picture or a `RejectedImage`, in bounded time and memory, and never a word on standard error."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.conftest import PROJECT
from tests.fakes import black_png, saved
from tests.fuzz.seeds import SEED

MOST_BYTES = 10**9
#: Processor time; our choice: the largest accepted pictures take about as long on a slow machine.
MOST_SECONDS = 20


def put_through(folder: Path, seed: int, first: int, count: int) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.fuzz.image_door", str(folder), *map(str, (seed, first, count))],
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        timeout=840,
    )
    current = (folder / "current").read_text() if (folder / "current").exists() else "none"
    assert done.returncode == 0, f"died at input {current} of seed {seed}:\n{done.stderr[-3000:]}"
    assert done.stderr == ""
    found: dict[str, Any] = json.loads(done.stdout)
    print(f"seed {seed}, inputs from {first}: {found}")  # noqa: T201 - shown with -s, -rP or after a failure
    return found


def check(found: dict[str, Any], seed: int) -> None:
    replay = f"python -m tests.fuzz.damage {seed} NUMBER > FILE shows an input again"
    assert found["faults"] == [], replay
    assert found["slowest_seconds"] < MOST_SECONDS, replay
    assert found["peak_bytes"] < MOST_BYTES
    assert found["store_is_what_was_accepted"]
    # Otherwise the damage is too coarse to reach the decoders, or too fine to be any.
    assert {"read", "door: unreadable", "door: unsupported", "decoding: unreadable"} <= set(found["outcomes"])


def test_damaged_pictures_are_read_or_refused(tmp_path: Path) -> None:
    check(put_through(tmp_path, SEED, 0, 1500), SEED)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("part", range(1, 5))
def test_many_damaged_pictures_are_read_or_refused(tmp_path: Path, part: int) -> None:
    check(put_through(tmp_path, SEED, part * 5000, 5000), SEED)


LARGEST = """
import os, pathlib, sys
from core.preprocessing import read_model_input
from worker.notes import peak_memory_of
for name in sys.argv[1:]:
    data = pathlib.Path(name).read_bytes()
    read_model_input(data, side=224, channels=3, max_pixels=64_000_000)
    print(name, peak_memory_of(os.getpid()))
"""


def test_the_largest_pictures_of_every_kind_fit_into_a_gigabyte(tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    side, webp_side = 8000, 5600
    contents = {
        "rgba.png": black_png(side, side, colours=4),
        "deep.png": black_png(side, side, depth=16),
        "deep.tif": saved(Image.new("I", (side, side)), "TIFF", compression="tiff_deflate", exif=turned),
        "progressive.jpg": saved(Image.new("CMYK", (side, side)), "JPEG", progressive=True, exif=turned),
        "lossless.webp": saved(Image.new("RGBA", (webp_side, webp_side)), "WEBP", lossless=True, method=0),
    }
    files = [tmp_path / name for name in contents]
    for file, data in zip(files, contents.values(), strict=True):
        file.write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", LARGEST, *map(str, files)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    peaks = {Path(line.split()[0]).name: int(line.split()[1]) for line in done.stdout.splitlines()}
    assert peaks.keys() == contents.keys()
    assert max(peaks.values()) < MOST_BYTES, peaks
