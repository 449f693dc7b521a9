"""`fracture-queue publish`: make a model bundle of a training run."""

from __future__ import annotations

import os
from pathlib import Path

import click


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--name", help="Name of the model.  [default: named after the task]")
@click.option("--version", help="Version of the model.  [default: 1.0.0, or the next one]")
@click.option("--models", type=click.Path(path_type=Path), help="Folder of model bundles.  [default: FRACTURE_MODELS]")
@click.option("--data", type=click.Path(path_type=Path), help="The run's data, if they have moved.")
@click.option(
    "--radiographs",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Further labelled radiographs, of either task, that are not to count as strange; repeatable.",
)
def publish(
    run: Path,
    name: str | None,
    version: str | None,
    models: Path | None,
    data: Path | None,
    radiographs: tuple[Path, ...],
) -> None:
    """Publish RUN, the folder of a training run, as a model bundle.

    Example: fracture-queue publish runs/mobilenetv2-1a2b3c4d --version 1.0.0
    """
    from core.settings import Settings
    from training.data import DataChoices, read_dataset
    from training.outlier_fit import read_radiographs
    from training.progress import terminal_progress
    from training.publish import Publication, check_data, default_name, next_version
    from training.publish import publish as publish_run
    from training.quiet import load_tensorflow
    from training.run_folder import RunFolder

    settings = Settings.from_env(os.environ)
    opened = RunFolder.open(run)
    dataset = read_dataset(
        data or Path(opened.description["data_folder"]),
        tuple(opened.description["labels"]),
        DataChoices.from_document(opened.description.get("data_choices", {})),
        max_pixels=settings.max_pixels,
    )
    check_data(opened, dataset)
    folder = models or settings.models
    chosen = name or default_name(opened)
    publication = Publication(
        run=opened,
        dataset=dataset,
        models=folder.absolute(),
        name=chosen,
        version=version or next_version(folder, chosen),
        max_pixels=settings.max_pixels,
        radiographs=[read_radiographs(folder, settings.max_pixels) for folder in radiographs],
    )
    load_tensorflow()
    with terminal_progress() as progress:
        bundle = publish_run(publication, progress)
    click.echo((bundle.folder / "README.md").read_text())
    click.echo(f"Published {bundle.card.name} {bundle.card.version} in {bundle.folder}.")
