"""Recipes, schedules and run folders, without a network."""

from __future__ import annotations

import csv
import errno
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.errors import ConfigurationError
from tests.fakes import raising
from training.backbones import check_weights
from training.curves import draw_curves
from training.recipe import LAST_EPOCH, Phase, Recipe, with_choices
from training.recipes.registry import RECIPES, find_recipe
from training.run_folder import RunFolder, default_folder, only_one
from training.schedule import best_epoch, next_epoch

RECIPE = replace(
    find_recipe("mobilenetv2"),
    phases=(Phase("head", 3, 1e-3, 0), Phase("whole", 10, 1e-4, None)),
    patience=2,
    monitor="valid_loss",
)


def row(phase: str, loss: float, **more: Any) -> dict[str, Any]:
    return {"phase": phase, "valid_loss": loss, **more}


def test_a_run_begins_with_the_first_phase() -> None:
    assert next_epoch([], RECIPE) == (0, 0)


def test_a_phase_ends_with_its_epochs_or_when_patience_runs_out() -> None:
    assert next_epoch([row("head", 3), row("head", 2)], RECIPE) == (0, 2)
    assert next_epoch([row("head", 3), row("head", 2), row("head", 1)], RECIPE) == (1, 0)
    assert next_epoch([row("head", 1), row("head", 2), row("head", 3)], RECIPE) == (1, 0)


def test_patience_counts_anew_in_each_phase() -> None:
    head = [row("head", 1.0), row("head", 1.1), row("head", 1.2)]
    assert next_epoch([*head, row("whole", 3.0), row("whole", 2.9)], RECIPE) == (1, 2)


def test_a_run_ends_after_its_last_phase() -> None:
    assert next_epoch([row("whole", 1.0), row("whole", 1.1), row("whole", 1.2)], RECIPE) is None
    assert next_epoch([row("whole", 1 - index / 100) for index in range(10)], RECIPE) is None


@pytest.mark.parametrize(("monitor", "best"), [("valid_loss", 1), ("valid_macro_f1", 2)])
def test_the_best_epoch_is_that_of_the_monitored_figure(monitor: str, best: int) -> None:
    rows = [row("head", 2, valid_macro_f1=0.1), row("head", 1, valid_macro_f1=0.2), row("head", 1, valid_macro_f1=0.3)]
    assert best_epoch(rows, replace(RECIPE, monitor=monitor)) == best


@pytest.mark.parametrize(("epochs", "shares"), [(2, [1, 1]), (4, [3, 1]), (9, [3, 6])])
def test_the_users_epochs_are_dealt_out_to_the_phases(epochs: int, shares: list[int]) -> None:
    chosen = with_choices(RECIPE, epochs=epochs, batch_size=None, side=64)
    assert [phase.epochs for phase in chosen.phases] == shares
    assert (chosen.side, chosen.batch_size) == (64, RECIPE.batch_size)


def test_too_few_epochs_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="--epochs 1 is too few"):
        with_choices(RECIPE, epochs=1, batch_size=None, side=None)


def test_an_unknown_recipe_and_missing_weights_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"no recipe 'resnet'; the recipes are .*mobilenetv2"):
        find_recipe("resnet")
    with pytest.raises(ConfigurationError, match=r"no weights file nowhere\.h5"):
        check_weights("nowhere.h5")


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=lambda recipe: recipe.name)
def test_every_recipe_is_sound(recipe: Recipe) -> None:
    if recipe.solving is not None:
        # Nothing is chosen among epochs: there is one, in which the backbone stays as it is.
        assert recipe.monitor == LAST_EPOCH
        assert [(phase.epochs, phase.backbone_layers) for phase in recipe.phases] == [(1, 0)]
        assert recipe.solving.views > 1
        assert recipe.solving.penalty > 0
        return
    assert recipe.monitor in ("valid_loss", "valid_macro_f1", "valid_roc_auc")
    assert (recipe.monitor == "valid_roc_auc") == (recipe.task == "fracture")
    assert recipe.phases
    assert len({phase.name for phase in recipe.phases}) == len(recipe.phases)


def test_epochs_of_a_recipe_that_is_solved_for_are_its_views() -> None:
    chosen = with_choices(find_recipe("linear-efficientnetlite0"), epochs=3, batch_size=None, side=None)
    assert chosen.solving is not None
    assert chosen.solving.views == 3
    assert [phase.epochs for phase in chosen.phases] == [1]


def description(**parameters: Any) -> dict[str, Any]:
    return {"recipe": "mobilenetv2", "parameters": {"seed": 0, **parameters}, "data": {"counts": {"train": 1}}}


def test_the_default_folder_is_found_again_by_the_same_command_alone() -> None:
    assert default_folder(description()) == default_folder(description())
    assert default_folder(description()) != default_folder(description(seed=1))
    assert default_folder(description()).parts[0] == "runs"


class FakeModel:
    """Writes a word where a network would write its weights."""

    name, inputs, outputs = "fake", (), ()

    def save_weights(self, path: Path) -> None:
        path.write_text("state")


def test_a_run_folder_remembers_epochs_and_removes_older_states(tmp_path: Path) -> None:
    run = RunFolder.start_or_resume(tmp_path / "run", description())
    assert run.state_file is None
    for epoch in (1, 2, 3):
        run.record_epoch({"epoch": epoch, "phase": "head"}, FakeModel(), best=None)
    again = RunFolder.start_or_resume(tmp_path / "run", description())
    assert [row["epoch"] for row in again.rows] == [1, 2, 3]
    assert [path.name for path in (tmp_path / "run").glob("epoch-*")] == ["epoch-3.weights.h5"]
    with (tmp_path / "run" / "history.csv").open() as stream:
        assert [row["epoch"] for row in csv.DictReader(stream)] == ["1", "2", "3"]
    assert json.loads((tmp_path / "run" / "history.json").read_text()) == again.rows


def test_a_kill_between_state_and_progress_leaves_the_epoch_before(tmp_path: Path) -> None:
    run = RunFolder.start_or_resume(tmp_path, description())
    run.record_epoch({"epoch": 1, "phase": "head"}, FakeModel(), best=None)
    (tmp_path / "epoch-2.weights.h5").write_text("written, but the progress file was not replaced any more")
    again = RunFolder.open(tmp_path)
    assert [row["epoch"] for row in again.rows] == [1]
    assert again.state_file == tmp_path / "epoch-1.weights.h5"


def test_a_run_does_not_go_on_with_other_settings_or_data(tmp_path: Path) -> None:
    run = RunFolder.start_or_resume(tmp_path, description())
    run.record_epoch({"epoch": 1, "phase": "head"}, FakeModel(), best=None)
    with pytest.raises(ConfigurationError, match="seed was 0, is 1"):
        RunFolder.start_or_resume(tmp_path, description(seed=1))
    with pytest.raises(ConfigurationError, match="the images, their classes or their splits are others"):
        RunFolder.start_or_resume(tmp_path, description() | {"data": {"counts": {"train": 2}}})


def test_a_run_that_never_finished_an_epoch_begins_anew(tmp_path: Path) -> None:
    RunFolder.start_or_resume(tmp_path, description())
    assert RunFolder.start_or_resume(tmp_path, description(seed=1)).description == description(seed=1)


def test_a_run_is_trained_by_one_process_at_a_time(tmp_path: Path) -> None:
    said = f"Process {os.getpid()} already trains the run in .*run; wait"
    with only_one(tmp_path / "run"), pytest.raises(ConfigurationError, match=said), only_one(tmp_path / "run"):
        pytest.fail("a second process got in")
    with only_one(tmp_path / "run"):
        assert (tmp_path / "run" / "run.lock").read_text() == str(os.getpid())


def test_a_lock_is_held_on_a_disk_that_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.locks.os.write", raising(errno.ENOSPC))
    with only_one(tmp_path), pytest.raises(ConfigurationError, match="Process unknown already"), only_one(tmp_path):
        pytest.fail("a second process got in")


def test_a_folder_without_a_run_and_a_run_without_epochs_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no training run in"):
        RunFolder.open(tmp_path)
    with pytest.raises(ConfigurationError, match="has not finished an epoch"):
        _ = RunFolder.start_or_resume(tmp_path, description()).best_file


def test_readings_of_the_test_split_are_counted(tmp_path: Path) -> None:
    run = RunFolder.start_or_resume(tmp_path, description())
    assert run.test_reads == 0
    run.count_test_read()
    run.count_test_read()
    assert RunFolder.open(tmp_path).test_reads == 2


def test_curves_are_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    columns = ("train_loss", "valid_loss", "train_accuracy", "valid_accuracy", "valid_macro_f1")
    rows = [{"epoch": epoch} | dict.fromkeys(columns, 1 / epoch) for epoch in (1, 2, 3)]
    draw_curves(rows, 1, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
