"""The rows of the table of recipes, one for each run; `recipe_pages` shows them.

    python -m training.recipe_table [RUN...] --record docs/recipes.json

A run's network is judged on the splits it was trained with, uncalibrated. Reading the test split is counted in its
folder and happens once: the figures are kept there and in the record, from which the tables are written when the
run's folder is long gone.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np

from core.errors import ConfigurationError
from core.settings import Settings
from training.data import DataChoices, read_dataset
from training.metrics import cluster_intervals, figures
from training.pictures import load_pictures
from training.progress import Silent
from training.recipe_pages import pages
from training.recipes.registry import RECIPES
from training.run_folder import RunFolder

FIGURES_FILE = "figures.json"
_SPLITS = ("train", "valid", "test")


def run_figures(run: RunFolder, data: Path, *, max_pixels: int) -> dict[str, Any]:
    """Return what a run's network scores on each split; judged once, then read from the run's folder.

    Args:
        run: A finished run.
        data: Its data set.
        max_pixels: Largest picture that is decoded.

    Returns:
        `parameters` (the network's number of weights) and for each split the figures of `metrics.figures`, the number
        of images and `intervals`, 95 %, bootstrapped over sources.

    Raises:
        ConfigurationError: The data are not those of the run, or the run has no network.
    """
    kept = run.folder / FIGURES_FILE
    if kept.is_file():
        return dict(json.loads(kept.read_text()))
    import keras

    labels = tuple(run.description["labels"])
    choices = DataChoices.from_document(run.description.get("data_choices", {}))
    dataset = read_dataset(data, labels, choices, max_pixels=max_pixels)
    if dataset.hashes() != run.description["data"]["sha256"]:
        raise ConfigurationError(f"The data in {data} are not those of the run in {run.folder}.")
    model: Any = keras.saving.load_model(run.best_file, compile=False, safe_mode=True)
    found: dict[str, Any] = {"parameters": model.count_params()}
    for split in (split for split in _SPLITS if split in dataset.counts()):
        if split == "test":
            run.count_test_read()
        side = run.description["parameters"]["image_size"]
        samples = dataset.split(split)
        pictures = load_pictures(samples, labels, side=side, channels=1, max_pixels=max_pixels, advance=Silent().step)
        predicted = np.asarray(model.predict(pictures.images, batch_size=16, verbose=0), dtype=np.float64)
        intervals = cluster_intervals(
            lambda weights, predicted=predicted, targets=pictures.targets: figures(predicted, targets, weights),  # type: ignore[misc]
            [sample.cluster for sample in samples],
        )
        found[split] = {
            "images": len(samples),
            **figures(predicted, pictures.targets),
            "intervals": {name: list(ends) for name, ends in intervals.items()},
        }
    kept.write_text(json.dumps(found, indent=1) + "\n")
    return found


def describe_run(run: RunFolder, found: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of the record: what was trained how on what, and what `run_figures` found."""
    asked = run.description["parameters"]
    return {
        "recipe": run.description["recipe"],
        "backend": asked.get("backend", "tensorflow"),
        "image_size": asked["image_size"],
        "weights": asked["weights"],
        # What is solved for has no epochs.
        "epochs": "solved" if asked.get("solving") else len(run.rows),
        "minutes": round(sum(row["seconds"] for row in run.rows) / 60),
        "split": split_in_words(run.description),
        "command": command_of(run.description),
        **found,
    }


def split_in_words(description: Mapping[str, Any]) -> str:
    """Name the division into train, valid and test that a run was made with."""
    choices = DataChoices.from_document(description.get("data_choices", {}))
    leaky = ", leaky" if description["data"].get("leakage") else ""
    if choices.layout == "classes":
        return "pooled, random" + leaky
    if choices.split_column != "split":
        return f"column {choices.split_column}" + leaky
    return "given" + leaky if leaky else "leak-free"


def command_of(description: Mapping[str, Any]) -> str:
    """Write the command that makes such a run, with folders and files by their names alone."""
    asked = description["parameters"]
    choices = DataChoices.from_document(description.get("data_choices", {}))
    words = ["fracture-queue", "train", description["recipe"], "--data", Path(description["data_folder"]).name]
    if choices.layout != "auto":
        words += ["--layout", choices.layout]
    if choices.split_column != "split":
        words += ["--split-column", choices.split_column]
    if choices.valid_share:
        words += ["--valid-share", f"{choices.valid_share:g}"]
    if choices.test_share:
        words += ["--test-share", f"{choices.test_share:g}"]
    if choices.allow_leakage:
        words.append("--allow-leakage")
    solving = asked.get("solving")
    epochs = solving["views"] if solving else sum(phase["epochs"] for phase in asked["phases"])
    words += ["--weights", asked["weights"], "--epochs", str(epochs)]
    recipe = RECIPES.get(description["recipe"])
    if recipe is not None and asked["image_size"] != recipe.side:
        words += ["--image-size", str(asked["image_size"])]
    before = "KERAS_BACKEND=torch " if asked.get("backend") == "torch" else ""
    return before + shlex.join(words)


@click.command()
@click.argument("folders", nargs=-1, type=click.Path(path_type=Path, exists=True))
@click.option("--record", type=click.Path(path_type=Path), help="JSON file that keeps the rows, by the run's name.")
def main(folders: tuple[Path, ...], record: Path | None) -> None:
    """Judge the runs in FOLDERS; print the tables of them and of those that the record has already."""
    kept = json.loads(record.read_text()) if record is not None and record.is_file() else {}
    max_pixels = Settings.from_env(os.environ).max_pixels
    for folder in folders:
        run = RunFolder.open(folder)
        found = run_figures(run, Path(run.description["data_folder"]), max_pixels=max_pixels)
        kept[folder.name] = describe_run(run, found)
    if record is not None:
        record.write_text(json.dumps(kept, indent=1) + "\n")
    click.echo(pages(kept))


if __name__ == "__main__":
    main()
