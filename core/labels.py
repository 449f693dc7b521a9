"""How a data set's class names become the labels of a model card: "Hairline Fracture" is `hairline`."""

from __future__ import annotations

import re

from core.errors import ConfigurationError

#: Other names that published data sets use for the same class.
_SYNONYMS = {
    "dislocation": "fracture-dislocation",
    "fracture": "fractured",
    "no-fracture": "not-fractured",
    "non-fractured": "not-fractured",
    "non-fracture": "not-fractured",
    "unfractured": "not-fractured",
    "normal": "not-fractured",
}


def normalise_label(name: str, labels: tuple[str, ...]) -> str:
    """Return the label that a class name of a data set means: "Hairline Fracture" is `hairline`.

    Args:
        name: As a folder or the manifest's `class` column has it; case, blanks, `_` and `-` do not matter.
        labels: The labels of the task.

    Raises:
        ConfigurationError: The name means none of the labels.
    """
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    short = re.sub(r"-(fracture|fractures|fractured)$", "", slug)
    # The name as it stands comes first: in "fracture-dislocation" and "not-fractured" the word is part of the label.
    for candidate in (slug, short, _SYNONYMS.get(slug), _SYNONYMS.get(short)):
        if candidate in labels:
            return str(candidate)
    raise ConfigurationError(f"The class {name!r} is none of {', '.join(labels)}; rename it in the data set.")
