"""`fracture-queue ensemble`: average the networks of several training runs."""

from __future__ import annotations

from pathlib import Path

import click

from cli.words import figures_in_words


@click.command()
@click.argument("runs", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--run", type=click.Path(path_type=Path), required=True, help="Folder of the new run.")
@click.option("--mirrored", is_flag=True, help="Ask each network of the mirror image too; one run is enough then.")
def ensemble(runs: tuple[Path, ...], run: Path, mirrored: bool) -> None:
    """Average the networks of RUNS, folders of training runs on the same data, into a run of their own.

    Example: fracture-queue ensemble runs/linear runs/fine --run runs/both
    """
    from training.ensemble import average_runs
    from training.folds import OutOfFold
    from training.metrics import figures
    from training.quiet import load_keras
    from training.run_folder import RunFolder

    load_keras()
    made = average_runs([RunFolder.open(folder) for folder in runs], run, mirrored=mirrored)
    click.echo(f"{made.folder}: {made.description['title']}.")
    if made.out_of_fold_file.is_file():
        found = OutOfFold.load(made.out_of_fold_file)
        told = figures_in_words(figures(found.probabilities, found.targets))
        click.echo(f"Cross-validated, {len(found.targets)} images: {told}.")
    click.echo(f"Next: fracture-queue publish {made.folder}")
