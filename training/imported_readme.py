"""The model card for people of a model that was made elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from string import Template
from typing import Any

_README = Template("""\
# $title: $name $version

**$statement**

Imported from `$file` (sha256 `$sha256`) on $at.
Gives a radiograph one probability for each of $classes classes: $labels.

## Figures

**Unknown.** Nothing has been measured here, whatever was said of it where it comes from. Its confidence is not
calibrated, it has no prediction sets and it does not flag doubt or pictures that are no radiographs.

    fracture-queue evaluate $name/$version --data DIR --split test

## Input

$side x $side px grey, made by `core/preprocessing.py` (geometry `$geometry`: proportions kept, padded with black),
brought to the range `$input_range` by the network's first layers. A network that was trained on pictures stretched to a
square, or on another range than was stated at import, does worse here than it could.

`model.tflite` is compiled from `model.keras` in float32; on made-up pictures probabilities differ by $difference.

## Data and licence

Not stated. Add the source and the licence of the model and of its data before you share it.
""")


def imported_readme(card: Mapping[str, Any]) -> str:
    """Write it from the card's document."""
    imported = card["imported"]
    return _README.substitute(
        {name: card[name] for name in ("statement", "title", "name", "version")},
        file=imported["file"],
        sha256=imported["sha256"],
        at=imported["at"],
        input_range=imported["input_range"],
        classes=len(card["labels"]),
        labels=", ".join(card["labels"]),
        side=card["input"]["side"],
        geometry=card["input"]["geometry"],
        difference=f"{card['engine_difference']:.1g}",
    )
