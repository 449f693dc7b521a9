"""The table of recipes side by side, as Markdown.

    python -m training.recipe_table [RUN...] --record docs/recipes.json

Each row is one run: its network is judged on the splits it was trained with, uncalibrated. Reading the test split is
counted in its folder and happens once: the figures are kept there and in the record, from which the table is written
when the run's folder is long gone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
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
        "epochs": len(run.rows),
        "minutes": round(sum(row["seconds"] for row in run.rows) / 60),
        "split": split_in_words(run.description),
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


def as_cells(row: Mapping[str, Any]) -> dict[str, str]:
    """Return a row of the record as text by column."""
    cells = {
        "recipe": row["recipe"] + (" (PyTorch)" if row["backend"] == "torch" else ""),
        "million weights": f"{row['parameters'] / 1e6:.1f}",
        "px": str(row["image_size"]),
        "begins with": row["weights"],
        "epochs": str(row["epochs"]),
        "split": row["split"],
    }
    for split in (split for split in _SPLITS if split in row):
        scores = row[split]
        binary = "roc_auc" in scores
        for name, column in (
            (("roc_auc", "ROC AUC"),) if binary else (("accuracy", "accuracy"), ("macro_f1", "macro F1"))
        ):
            shown = f"{scores[name]:.3f}"
            if split == "test" and name != "macro_f1":
                low, high = scores["intervals"][name]
                shown += f" ({low:.2f} to {high:.2f})"
            cells[f"{split} {column}"] = shown
    return cells


def as_markdown(table: Iterable[Mapping[str, str]]) -> str:
    """Return rows as a Markdown table; a figure that a row lacks is a dash."""
    table = list(table)
    columns = list(dict.fromkeys(name for row in table for name in row))
    lines = ["| " + " | ".join(columns) + " |", "| --- |" + " ---: |" * (len(columns) - 1)]
    lines += ["| " + " | ".join(row.get(name, "-") for name in columns) + " |" for row in table]
    return "\n".join(lines)


@click.command()
@click.argument("folders", nargs=-1, type=click.Path(path_type=Path, exists=True))
@click.option("--record", type=click.Path(path_type=Path), help="JSON file that keeps the rows, by the run's name.")
def main(folders: tuple[Path, ...], record: Path | None) -> None:
    """Print the table of the runs in FOLDERS, and of those that the record has already."""
    kept = json.loads(record.read_text()) if record is not None and record.is_file() else {}
    max_pixels = Settings.from_env(os.environ).max_pixels
    for folder in folders:
        run = RunFolder.open(folder)
        found = run_figures(run, Path(run.description["data_folder"]), max_pixels=max_pixels)
        kept[folder.name] = describe_run(run, found)
    if record is not None:
        record.write_text(json.dumps(kept, indent=1) + "\n")
    for binary in (False, True):
        table = [as_cells(row) for row in kept.values() if ("roc_auc" in row["valid"]) is binary]
        if table:
            click.echo(as_markdown(table) + "\n")


if __name__ == "__main__":
    main()
