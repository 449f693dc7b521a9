"""What a bundle says of itself: `card.json` for programs, `README.md` for people."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from string import Template
from typing import Any

from core.preprocessing import GEOMETRY
from training.report import figures_table
from training.sources import data_source, weights_source

STATEMENT = (
    "Research and education only. No medical device: not for diagnosis, not for treatment, not for any decision "
    "about a person."
)


def card_document(
    *,
    name: str,
    version: str,
    title: str,
    run: Mapping[str, Any],
    kept: Mapping[str, Any],
    files: Mapping[str, str],
    temperature: float,
    engine_difference: float,
    metrics: Mapping[str, Any],
    test_reads: int,
) -> dict[str, Any]:
    """Assemble the card; `core.bundle.ModelCard` reads it.

    Args:
        name: Of the model.
        version: Of the model.
        title: For people.
        run: The run's description, `run.json`.
        kept: The history's row of the epoch whose network this is.
        files: File name to sha256.
        temperature: From `fit_temperature`.
        engine_difference: Greatest difference of the two engines' probabilities on the validation split.
        metrics: Split name to the figures that `evaluate` prints.
        test_reads: How often the test split has been read for this run.
    """
    parameters = run["parameters"]
    return {
        "name": name,
        "version": version,
        "title": title,
        "task": run["task"],
        "statement": STATEMENT,
        "labels": run["labels"],
        "input": {"side": parameters["image_size"], "channels": 1, "geometry": GEOMETRY},
        "calibration": {"method": "temperature", "temperature": temperature, "fitted_on": "valid"},
        "conformal": None,
        "doubt": None,
        "metrics": dict(metrics),
        "test_reads": test_reads,
        "engine_difference": engine_difference,
        "recipe": {"name": run["recipe"], **parameters},
        "seed": parameters["seed"],
        "kept_epoch": kept.get("epoch"),
        "data": {**data_source(run["data"]["sha256"]["all"]), **run["data"]},
        "backbone_weights": weights_source(parameters),
        "versions": run["versions"],
        "published_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "files": dict(files),
    }


_README = Template("""\
# $title: $name $version

**$statement**

Gives a radiograph one probability for each of $classes classes: $labels.
Takes $side x $side px grey, made by `core/preprocessing.py` (geometry `$geometry`: proportions kept, padded with
black); scaling to the backbone's range is the network's first layer.

## Figures

Made by `fracture-queue evaluate $name/$version --data DIR --split SPLIT`, engine `litert`, on a split in which no image
and no source also occurs in training. Intervals are 95 %, bootstrapped over sources.
The validation split chose the epoch and fitted the temperature ($temperature), so its figures flatter.
The test split has been read $test_reads for this run.

$figures

$per_class

## Training

Recipe `$recipe`, seed $seed, epoch $kept_epoch kept; every parameter is in `card.json`.
Backbone weights: $weights ($weights_licence).
`model.tflite` is compiled from `model.keras` in float32; on the validation split all labels are the same and
probabilities differ by at most $engine_difference.

## Data and licence

$attribution
Source: $source. Licence of the data: $licence.
Changes: $changes
$counts images; the data's hash is in `card.json`.

## Limits

- Labels come from the data set's publisher without a clinical reference; several types can describe one fracture.
- The model knows no "no fracture" and no "something else": every picture is given one of its classes.
- Image sources, body parts, ages and devices of the data are unknown; expect worse on other pictures.
- With so few test images one image moves the accuracy by $one_image points: read the intervals, not the digits.
""")


def readme(card: Mapping[str, Any]) -> str:
    """Write the model card for people from the card's document."""
    metrics, last = card["metrics"], list(card["metrics"].values())[-1]
    source, weights = card["data"], card["backbone_weights"]
    reads = card["test_reads"]
    return _README.substitute(
        card,
        classes=len(card["labels"]),
        labels=", ".join(card["labels"]),
        side=card["input"]["side"],
        geometry=card["input"]["geometry"],
        temperature=card["calibration"]["temperature"],
        test_reads="once" if reads == 1 else f"{reads} times",
        figures=_figures_table(metrics),
        per_class=_class_table(last),
        recipe=card["recipe"]["name"],
        weights=weights["name"],
        weights_licence=weights.get("licence", "no licence applies"),
        engine_difference=f"{card['engine_difference']:.1g}",
        attribution=source["attribution"],
        source=source.get("url", "not stated"),
        licence=" ".join(filter(None, (source["licence"], source.get("licence_url")))),
        changes=source.get("changes", "not stated."),
        counts=", ".join(f"{count} {split}" for split, count in source["counts"].items()),
        one_image=f"{100 / last['images']:.1f}",
    )


def _figures_table(metrics: Mapping[str, Any]) -> str:
    head = "".join(f" {split} ({figures['images']} images) | 95 % |" for split, figures in metrics.items())
    lines = [f"| |{head}", "| --- |" + " ---: | --- |" * len(metrics)]
    for rows in zip(*(figures_table(figures) for figures in metrics.values()), strict=True):
        lines.append(f"| {rows[0][0]} |" + "".join(f" {value} | {interval} |" for _, value, interval in rows))
    return "\n".join(lines)


def _class_table(figures: Mapping[str, Any]) -> str:
    lines = [
        f"| class ({figures['split']}) | images | precision | recall | F1 |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {label} | {row['images']} | {row['precision']:.2f} | {row['recall']:.2f} | {row['f1']:.2f} |"
        for label, row in figures["per_class"].items()
    ]
    return "\n".join(lines)
