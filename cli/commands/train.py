"""`fracture-queue train`: train a recipe's network on labelled radiographs."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.data_options import data_options
from cli.parameters import COUNT
from cli.words import figures_in_words
from core.words import counted

if TYPE_CHECKING:
    from training.data import DataChoices


@click.command()
@click.argument("recipe")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder with MANIFEST.csv, with train/ and valid/, or with one folder per class.",
)
@data_options
@click.option("--epochs", type=COUNT, help="At most so many epochs in all.  [default: the recipe's]")
@click.option("--batch-size", type=click.IntRange(1, 4096), help="Radiographs per step.  [default: the recipe's]")
@click.option(
    "--weights",
    default="imagenet",
    show_default=True,
    help="imagenet (downloads, or from a package), none, a weights file, or a .keras file over the same backbone.",
)
@click.option("--image-size", type=click.IntRange(32, 1024), help="Input side in pixels.  [default: the recipe's]")
@click.option("--seed", type=click.IntRange(0, 99_999), default=0, show_default=True, help="Of all random choices.")
@click.option(
    "--folds",
    type=click.IntRange(2, 20),
    help="Cross-validate by source, then learn from train and valid alike.  [default: valid judges]",
)
@click.option(
    "--precision",
    type=click.Choice(["float32", "mixed_bfloat16"]),
    default="float32",
    show_default=True,
    help="Arithmetic of training; the network is kept in float32.",
)
@click.option(
    "--teacher",
    "teachers",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Learn from the answers of this run's networks too; repeatable, they are averaged.",
)
@click.option(
    "--unlabelled",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Further radiographs, which the teachers name; of the binary question the fractured ones. Repeatable.",
)
@click.option("--run", type=click.Path(path_type=Path), help="Run folder.  [default: runs/, named after all settings]")
def train(
    recipe: str,
    data: Path,
    choices: DataChoices,
    epochs: int | None,
    batch_size: int | None,
    weights: str,
    image_size: int | None,
    seed: int,
    folds: int | None,
    precision: str,
    teachers: tuple[Path, ...],
    unlabelled: tuple[Path, ...],
    run: Path | None,
) -> None:
    """Train RECIPE. Repeat the command to go on after an interruption.

    Example: fracture-queue train mobilenetv2 --data bone-break --weights mobilenet_v2_notop.h5
    """
    from core.settings import Settings
    from training.backbones import check_weights
    from training.cross_validate import cross_validate, without_early_stopping
    from training.data import load_dataset
    from training.folds import OutOfFold
    from training.labels import labels_of_task
    from training.leakage import LEAKAGE_FILE, check_leakage, count_leaks, leaks_in_words, write_leaks
    from training.metrics import figures
    from training.progress import terminal_progress
    from training.quiet import load_keras
    from training.recipe import first_weights, with_choices
    from training.recipes.registry import find_recipe
    from training.run_folder import RunFolder, default_folder, only_one
    from training.teaching import find_teaching
    from training.train import Options, describe, finish
    from training.train import train as train_network

    chosen = with_choices(find_recipe(recipe), epochs=epochs, batch_size=batch_size, side=image_size)
    check_weights(weights)
    weights = first_weights(chosen, weights)
    chosen = without_early_stopping(chosen) if folds else chosen
    max_pixels = Settings.from_env(os.environ).max_pixels
    dataset = load_dataset(data, labels_of_task(chosen.task), choices, max_pixels=max_pixels)
    for split in ("train", "valid"):
        dataset.split(split)
    with terminal_progress() as progress:
        leaks = check_leakage(
            dataset.samples,
            allowed=choices.allow_leakage,
            report=(run or Path("runs")) / LEAKAGE_FILE,
            max_pixels=max_pixels,
            progress=progress,
        )
    dataset = replace(dataset, leakage=count_leaks(leaks))
    teaching = find_teaching(teachers, unlabelled, folds=folds or 0, dataset=dataset, max_pixels=max_pixels)
    options = Options(chosen, weights, seed, max_pixels, folds or 0, precision, teaching)
    load_keras()
    description = describe(options, dataset)
    place = run or default_folder(description)
    with only_one(place):
        folder = RunFolder.start_or_resume(place, description)
        done = f"; goes on after epoch {len(folder.rows)}" if folder.rows else ""
        counts = ", ".join(f"{count} {name}" for name, count in dataset.counts().items())
        click.echo(f"Run {folder.folder}: {counts} images{done}. {dataset.dealt}", err=True)
        if leaks:
            write_leaks(leaks, folder.folder / LEAKAGE_FILE)
            click.echo(f"{leaks_in_words(leaks)} The pairs are in {folder.folder / LEAKAGE_FILE}.", err=True)
        with terminal_progress() as progress:
            (cross_validate if folds else train_network)(options, dataset, folder, progress)
        best = finish(folder, chosen)
    click.echo(f"{folder.folder}: {counted(len(folder.rows), 'epoch')}; epoch {best['epoch']} is kept.")
    if folds:
        found = OutOfFold.load(folder.out_of_fold_file)
        told = figures_in_words(figures(found.probabilities, found.targets))
        click.echo(f"Cross-validated, {len(found.targets)} images: {told}.")
    else:
        click.echo(
            f"Validation: {figures_in_words({name.removeprefix('valid_'): value for name, value in best.items()})}."
        )
    click.echo(f"Next: fracture-queue publish {folder.folder}")
