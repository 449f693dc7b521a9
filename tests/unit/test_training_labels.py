"""Class names of data sets become the labels of model cards."""

from __future__ import annotations

import pytest

from core.errors import ConfigurationError
from core.labels import normalise_label
from training.labels import TASK_LABELS, labels_of_task

TYPES = TASK_LABELS["fracture-type"]
BINARY = TASK_LABELS["fracture"]


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("Avulsion fracture", "avulsion"),
        ("Comminuted fracture", "comminuted"),
        ("Fracture Dislocation", "fracture-dislocation"),
        ("fracture_dislocation", "fracture-dislocation"),
        ("Greenstick fracture", "greenstick"),
        ("Hairline Fracture", "hairline"),
        ("Impacted fracture", "impacted"),
        ("Longitudinal fracture", "longitudinal"),
        ("Oblique fracture", "oblique"),
        ("Pathological fracture", "pathological"),
        ("  SPIRAL-Fracture ", "spiral"),
        ("spiral", "spiral"),
    ],
)
def test_the_names_of_bone_break_become_labels(name: str, label: str) -> None:
    assert normalise_label(name, TYPES) == label


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("fractured", "fractured"),
        ("Fracture", "fractured"),
        ("not_fractured", "not-fractured"),
        ("Not Fractured", "not-fractured"),
        ("no fracture", "not-fractured"),
        ("non-fractured", "not-fractured"),
        ("normal", "not-fractured"),
    ],
)
def test_the_binary_names_are_never_mixed_up(name: str, label: str) -> None:
    assert normalise_label(name, BINARY) == label


@pytest.mark.parametrize("name", ["", "not fractured", "cat", "fracture"])
def test_an_unknown_class_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(ConfigurationError, match="avulsion, comminuted"):
        normalise_label(name, TYPES)


def test_an_unknown_task_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="no task 'cats'"):
        labels_of_task("cats")
