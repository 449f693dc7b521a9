"""The options that say how a labelled data set is read; `train` and `evaluate` share them."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from cli.parameters import Number

_OPTIONS = (
    click.option(
        "--layout",
        type=click.Choice(["auto", "manifest", "folders", "classes"]),
        default="auto",
        show_default=True,
        help="manifest: a CSV file; folders: train/CLASS, valid/CLASS, test/CLASS; classes: CLASS/, dealt out by hash.",
    ),
    click.option("--split-column", default="split", show_default=True, help="The manifest's column with the split."),
    click.option(
        "--valid-share",
        type=Number(0, 1, min_open=True, max_open=True),
        help="Share of each class to validate on, taken from train.  [default: the data's own split; classes: 0.2]",
    ),
    click.option(
        "--test-share",
        type=Number(0, 1, max_open=True),
        default=0.0,
        show_default=True,
        help="Share of each class to test on; for classes only.",
    ),
    click.option(
        "--allow-leakage",
        is_flag=True,
        help="Accept copies of one picture on both sides of a split; the card then says so.",
    ),
)
_NAMES = ("layout", "split_column", "valid_share", "test_share", "allow_leakage")


def data_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options; it gets them as `choices`, a `training.data.DataChoices`."""

    @wraps(command)
    def with_choices(**given: Any) -> Any:
        from training.data import DataChoices

        choices = DataChoices(**{name: given.pop(name) for name in _NAMES})
        return command(choices=choices, **given)

    for option in reversed(_OPTIONS):
        with_choices = option(with_choices)
    return with_choices
