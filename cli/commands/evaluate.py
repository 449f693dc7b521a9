"""`fracture-queue evaluate`: what a model bundle scores on a labelled split."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click


@click.command()
@click.argument("bundle")
@click.option(
    "--data", type=click.Path(path_type=Path), required=True, help="Folder with MANIFEST.csv, or test/ folders."
)
@click.option("--split", default="test", show_default=True, help="train, valid or test.")
@click.option("--engine", type=click.Choice(["litert", "keras"]), default="litert", show_default=True)
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def evaluate(bundle: str, data: Path, split: str, engine: str, form: str) -> None:
    """Judge BUNDLE, a folder or NAME[/VERSION], on a split of labelled radiographs.

    Example: fracture-queue evaluate fracture-types --data bone-break --split test
    """
    from core.settings import Settings
    from training.data import read_dataset
    from training.evaluate import evaluate_bundle, select_bundle
    from training.progress import terminal_progress
    from training.quiet import load_tensorflow
    from training.report import as_text

    settings = Settings.from_env(os.environ)
    chosen = select_bundle(bundle, settings.models)
    dataset = read_dataset(data, chosen.card.labels)
    if engine == "keras":
        load_tensorflow()
    with terminal_progress() as progress:
        result = evaluate_bundle(
            chosen, dataset, split, engine=engine, max_pixels=settings.max_pixels, progress=progress
        )
    timing = result.milliseconds_per_image
    if form == "json":
        model = {"name": chosen.card.name, "version": chosen.card.version, "card_sha256": chosen.sha256}
        document = {"model": model, "engine": engine, **result.figures, "milliseconds_per_image": timing}
        click.echo(json.dumps(document, indent=1))
        return
    click.echo(f"{chosen.card.name} {chosen.card.version}, engine {engine}")
    click.echo(as_text(result.figures))
    click.echo(f"\nTime per image: decoding {timing['decode']} ms, network {timing['network']} ms.")
