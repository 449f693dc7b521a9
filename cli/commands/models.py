"""`fracture-queue models`."""

from __future__ import annotations

import json
import re
from pathlib import Path

import click
from rich.table import Table

from cli.environment import actor_here, installation_here, settings_here
from cli.output import console
from core.bundle import find_bundles
from core.records.models import list_models, register_bundles, set_active


@click.group()
def models() -> None:
    """List, activate, deactivate and import models."""


@models.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def list_(as_json: bool) -> None:
    """List the models that this installation knows."""
    settings, database = installation_here()
    with database.transaction() as session:
        versions = register_bundles(session, find_bundles(settings.models), actor_here())
    if as_json:
        click.echo(json.dumps([{**vars(version), "full_name": version.full_name} for version in versions], indent=2))
        return
    table = Table("Model", "Task", "Active", "Installed", "Card")
    for version in versions:
        table.add_row(
            version.full_name,
            version.task,
            "yes" if version.active else "",
            "yes" if version.installed else "no",
            version.sha256[:12],
        )
    console().print(table)


@models.command()
@click.argument("model", metavar="NAME[/VERSION]")
def activate(model: str) -> None:
    """Have new radiographs classified by a model; another version of the same name steps back."""
    _switch(model, active=True)


@models.command()
@click.argument("model", metavar="NAME[/VERSION]")
def deactivate(model: str) -> None:
    """Stop giving new radiographs to a model. Its stored answers stay."""
    _switch(model, active=False)


@models.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--labels", required=True, metavar="A,B,C|FILE", help="In the order of the outputs; FILE: one a line.")
@click.option(
    "--input-range",
    required=True,
    type=click.Choice(["0-255", "0-1", "-1-1", "caffe", "torch"]),
    help="What the network expects. 0-255: it scales by itself; -1-1: MobileNetV2, ResNetV2; caffe: ResNet50, VGG.",
)
@click.option(
    "--outputs",
    type=click.Choice(["probabilities", "logits"]),
    default="probabilities",
    show_default=True,
    help="logits: it ends without softmax or sigmoid.",
)
@click.option("--image-size", type=click.IntRange(16, 4096), help="Input side in pixels, if the file leaves it open.")
@click.option("--name", help="Name of the model.  [default: the file's]")
@click.option("--version", help="Version of the model.  [default: 1.0.0, or the next one]")
@click.option("--task", type=click.Choice(["fracture-type", "fracture"]), help="[default: by the labels]")
@click.option("--title", help="Name for people.  [default: the model's name]")
def import_(
    file: Path,
    labels: str,
    input_range: str,
    outputs: str,
    image_size: int | None,
    name: str | None,
    version: str | None,
    task: str | None,
    title: str | None,
) -> None:
    """Make a bundle of FILE, your own trained Keras model (.keras or .h5). Activating it is a step of its own.

    A single sigmoid output is the probability of the second label.

    Example: fracture-queue models import resnet.h5 --labels classes.txt --input-range caffe --name resnet
    """
    from training.importing import Import, import_model, read_labels, task_of
    from training.publish import next_version

    click.echo(
        "A model file can carry code that runs when it is loaded, .h5 above all: import only what you trust. It is "
        "checked and converted once; the original is not used again.",
        err=True,
    )
    folder, words = settings_here().models.absolute(), read_labels(labels)
    chosen = name or re.sub(r"[^a-z0-9._-]+", "-", file.stem.lower()).strip("-._") or "imported"
    bundle = import_model(
        Import(
            file=file,
            labels=words,
            task=task_of(words, task),
            input_range=input_range,
            outputs=outputs,
            image_size=image_size,
            models=folder,
            name=chosen,
            version=version or next_version(folder, chosen),
            title=title or chosen,
        )
    )
    full_name = f"{bundle.card.name}/{bundle.card.version}"
    click.echo(f"Imported {full_name} in {bundle.folder}. What it is worth is unknown; measure it, then activate it:")
    click.echo(f"  fracture-queue evaluate {full_name} --data DIR --split test")
    click.echo(f"  fracture-queue models activate {full_name}")


def _switch(model: str, *, active: bool) -> None:
    _, database = installation_here()
    with database.transaction() as session:
        register_bundles(session, find_bundles(settings_here().models), actor_here())
        chosen = set_active(session, model, active=active, actor=actor_here())
        left = [version.full_name for version in list_models(session) if version.active]
    click.echo(f"{chosen.full_name} is {'active' if active else 'not active'}. Active: {', '.join(left) or 'none'}.")
