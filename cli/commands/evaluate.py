"""`fracture-queue evaluate`: what a model bundle scores on a labelled split."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.data_options import data_options

if TYPE_CHECKING:
    from training.data import DataChoices


@click.command()
@click.argument("bundle")
@click.option(
    "--data", type=click.Path(path_type=Path), required=True, help="Folder with MANIFEST.csv, or test/ folders."
)
@click.option("--split", default="test", show_default=True, help="train, valid or test.")
@click.option("--engine", type=click.Choice(["litert", "keras"]), default="litert", show_default=True)
@click.option(
    "--format", "form", type=click.Choice(["text", "json", "html", "markdown"]), default="text", show_default=True
)
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="File.  [default: standard output]")
@click.option("--by", metavar="COLUMN", help="Figures for each value of a column of the manifest too.")
@click.option("--without", metavar="COLUMN=VALUE", multiple=True, help="Leave these images out; repeatable.")
@data_options
def evaluate(
    bundle: str,
    data: Path,
    split: str,
    engine: str,
    form: str,
    output: Path | None,
    by: str | None,
    without: tuple[str, ...],
    choices: DataChoices,
) -> None:
    """Judge BUNDLE, a folder or NAME[/VERSION], on a split of labelled radiographs.

    Example: fracture-queue evaluate fracture-types --data bone-break --split test --format html --output report.html
    """
    from core.settings import Settings
    from training.data import read_dataset
    from training.evaluate import Without, evaluate_bundle, select_bundle
    from training.progress import terminal_progress
    from training.quiet import load_tensorflow
    from training.report import evaluation_report
    from training.report_formats import as_html, as_markdown, as_text

    settings = Settings.from_env(os.environ)
    chosen = select_bundle(bundle, settings.models)
    rules = [Without.parse(text) for text in without]
    dataset = read_dataset(data, chosen.card.labels, choices, max_pixels=settings.max_pixels)
    if engine == "keras":
        load_tensorflow()
    with terminal_progress() as progress:
        result = evaluate_bundle(
            chosen,
            dataset,
            split,
            engine=engine,
            max_pixels=settings.max_pixels,
            progress=progress,
            by=by,
            without=rules,
        )
    if form == "json":
        model = {"name": chosen.card.name, "version": chosen.card.version, "card_sha256": chosen.sha256}
        timing = {"milliseconds_per_image": result.milliseconds_per_image}
        document = {"model": model, "engine": engine, **result.figures, "unjudged": dict(result.unjudged), **timing}
        written = json.dumps(document, indent=1) + "\n"
    else:
        report = evaluation_report(chosen, engine, result, pictures=form != "text")
        written = {"text": as_text, "html": as_html, "markdown": as_markdown}[form](report)
    _write(written, output)


def _write(written: str, output: Path | None) -> None:
    from core.errors import ConfigurationError

    if output is None:
        click.echo(written, nl=False)
        return
    try:
        output.write_text(written, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{output} cannot be written: {error.strerror}.") from error
    click.echo(f"Written to {output}.", err=True)
