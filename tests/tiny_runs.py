"""A tiny network of the binary question and pictures for it, to train in seconds."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from click.testing import CliRunner
from PIL import Image

from cli.commands.publish import publish
from cli.commands.train import train
from core.bundle import Bundle
from training.heads import pooled_head
from training.recipe import Phase
from training.recipes.registry import find_recipe

COUNTS = {"train": 120, "valid": 60, "test": 60}


def build(side: int, classes: int, weights: str) -> Any:
    """Two convolutions; nothing is ever loaded."""
    import keras

    entry = keras.Input((side, side, 1), dtype="uint8")
    features = keras.layers.Rescaling(1 / 255)(entry)
    for width in (8, 16):
        features = keras.layers.Conv2D(width, 3, strides=2, activation="relu")(features)
    return keras.Model(entry, pooled_head(features, classes=classes, dropout=0.0))


TINY = replace(
    find_recipe("mobilenetv2-binary"),
    name="tiny-binary",
    title="A tiny binary network",
    side=32,
    batch_size=20,
    phases=(Phase("only", 4, 2e-2, None),),
    patience=4,
    build=build,
)


def draw_bars(folder: Path) -> None:
    """Bars on black; a fractured one has, mostly, a gap. With region and hardware, as in fracture-binary."""
    generator = np.random.default_rng(0)
    rows = []
    for split, count in COUNTS.items():
        for number in range(count):
            fractured, name = number % 3 == 0, f"{split}-{number}.png"
            levels = generator.normal(20, 6, (40, 40))
            top, width = generator.integers(8, 24), generator.integers(5, 10)
            levels[top : top + width] += generator.uniform(120, 200)
            gap = fractured if generator.random() < 0.85 else not fractured
            if gap:
                left = generator.integers(8, 24)
                levels[:, left : left + 8] = generator.normal(20, 6, (40, 8))
            Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8)).save(folder / name)
            rows.append(
                {
                    "path": name,
                    "class": "fractured" if fractured else "not_fractured",
                    "split": split,
                    "cluster_id": f"{split}-{number // 2}",
                    "region": ("hand", "leg")[number % 2],
                    "hardware": int(fractured and number % 4 == 0),
                }
            )
    with (folder / "MANIFEST.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def make_run(data: Path, run: Path, *options: str) -> Path:
    """Train; the recipe has to be registered (fixture `tiny_recipe`)."""
    # All bars are much alike, as near-duplicates are.
    asked = ["--data", str(data), "--weights", "none", "--run", str(run), "--allow-leakage", *options]
    CliRunner().invoke(train, [TINY.name, *asked], catch_exceptions=False)
    return run


def make_bundle(run: Path, models: Path, *options: str) -> Bundle:
    """Publish as fracture 1.0.0."""
    result = CliRunner().invoke(publish, [str(run), "--models", str(models), *options], catch_exceptions=False)
    assert "Published fracture 1.0.0" in result.stdout
    return Bundle.open(models / "fracture" / "1.0.0")
