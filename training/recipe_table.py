"""The table of recipes side by side, as Markdown, from the folders of their runs.

    python -m training.recipe_table RUN...

Each row is one run: its network is judged on the splits it was trained with, uncalibrated. Reading the test split is
counted in its folder and happens once: the figures are kept there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np

from core.errors import ConfigurationError
from core.settings import Settings
from training.data import DataChoices, read_dataset
from training.metrics import figures
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
        `parameters` (the network's number of weights) and for each split the figures of `metrics.figures`.

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
        pictures = load_pictures(
            dataset.split(split), labels, side=side, channels=1, max_pixels=max_pixels, advance=Silent().step
        )
        predicted = np.asarray(model.predict(pictures.images, batch_size=16, verbose=0), dtype=np.float64)
        found[split] = {"images": len(pictures.targets), **figures(predicted, pictures.targets)}
    kept.write_text(json.dumps(found, indent=1) + "\n")
    return found


def rows(folders: list[Path]) -> Iterator[Mapping[str, str]]:
    """Yield one row of the table for each run, as text by column."""
    max_pixels = Settings.from_env(os.environ).max_pixels
    for folder in folders:
        run = RunFolder.open(folder)
        found = run_figures(run, Path(run.description["data_folder"]), max_pixels=max_pixels)
        asked = run.description["parameters"]
        row = {
            "recipe": run.description["recipe"] + (" (PyTorch)" if asked.get("backend") == "torch" else ""),
            "million weights": f"{found['parameters'] / 1e6:.1f}",
            "px": str(asked["image_size"]),
            "begins with": asked["weights"],
            "epochs": str(len(run.rows)),
            "minutes": f"{sum(row['seconds'] for row in run.rows) / 60:.0f}",
            "data": "leaky" if run.description["data"].get("leakage") else "leak-free",
        }
        for split in (split for split in _SPLITS if split in found):
            row[f"{split} accuracy"] = f"{found[split]['accuracy']:.3f}"
            row[f"{split} macro F1"] = f"{found[split]['macro_f1']:.3f}"
            if "roc_auc" in found[split]:
                row[f"{split} ROC AUC"] = f"{found[split]['roc_auc']:.3f}"
        yield row


def as_markdown(table: list[Mapping[str, str]]) -> str:
    """Return rows as a Markdown table; a figure that a row lacks is a dash."""
    columns = list(dict.fromkeys(name for row in table for name in row))
    lines = ["| " + " | ".join(columns) + " |", "| --- |" + " ---: |" * (len(columns) - 1)]
    lines += ["| " + " | ".join(row.get(name, "-") for name in columns) + " |" for row in table]
    return "\n".join(lines)


@click.command()
@click.argument("folders", nargs=-1, type=click.Path(path_type=Path, exists=True))
def main(folders: tuple[Path, ...]) -> None:
    """Print the table of the runs in FOLDERS."""
    click.echo(as_markdown(list(rows(list(folders)))))


if __name__ == "__main__":
    main()
