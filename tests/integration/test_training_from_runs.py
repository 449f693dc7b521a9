"""Runs made from runs: ensembles, and students of teachers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from cli.commands.ensemble import ensemble
from cli.commands.train import train
from core.bundle import sha256_of
from core.errors import ConfigurationError
from tests.tiny_runs import TINY, make_bundle, make_run
from training.ensemble import average_runs
from training.folds import OutOfFold, each_fold
from training.run_folder import RunFolder

# Keras 3.15 turns TensorFlow's variables into arrays in a way that NumPy 2 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


def answers_of(run: Path, *, mirrored: bool = False) -> Any:
    import keras

    pictures = np.random.default_rng(5).integers(0, 256, (6, 32, 32, 1), dtype=np.uint8)
    model = keras.saving.load_model(RunFolder.open(run).best_file, compile=False, safe_mode=True)
    return model.predict(pictures[:, :, ::-1] if mirrored else pictures, verbose=0)


@pytest.mark.long
def test_an_ensemble_answers_with_the_mean_and_is_published_like_a_run(
    bars: Path, run_with_folds: Path, tmp_path: Path
) -> None:
    other = make_run(bars, tmp_path / "other", "--folds", "3", "--seed", "1")
    both = tmp_path / "both"
    told = (
        CliRunner()
        .invoke(ensemble, [str(run_with_folds), str(other), "--run", str(both)], catch_exceptions=False)
        .stdout
    )
    assert "average of 2 networks (tiny-binary, tiny-binary)" in told
    assert "Cross-validated, 180 images: accuracy" in told
    assert answers_of(both) == pytest.approx((answers_of(run_with_folds) + answers_of(other)) / 2, abs=1e-6)
    predictions = [OutOfFold.load(run / "out-of-fold.npz").probabilities for run in (run_with_folds, other, both)]
    assert predictions[2] == pytest.approx((predictions[0] + predictions[1]) / 2)

    card = make_bundle(both, tmp_path / "models").card.document
    assert card["calibration"]["fitted_on"] == "out-of-fold, 3 folds over train and valid"
    assert [member["seed"] for member in card["recipe"]["members"]] == [0, 1]
    assert card["backbone_weights"]["name"] == "none"


def test_one_run_and_its_mirror_images_are_averaged(bars: Path, run_with_folds: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mirrored"
    command = [str(run_with_folds), "--run", str(folder), "--mirrored"]
    told = CliRunner().invoke(ensemble, command, catch_exceptions=False).stdout
    assert "average of 1 network (tiny-binary) and mirror images" in told
    # The same answer for a picture and its mirror image, half of each.
    assert answers_of(folder) == pytest.approx(answers_of(folder, mirrored=True), abs=1e-6)
    both = (answers_of(run_with_folds) + answers_of(run_with_folds, mirrored=True)) / 2
    assert answers_of(folder) == pytest.approx(both, abs=1e-6)
    before, after = (OutOfFold.load(run / "out-of-fold.npz") for run in (run_with_folds, folder))
    assert before.mirrored is not None
    assert after.probabilities == pytest.approx((before.probabilities + before.mirrored) / 2)

    card = make_bundle(folder, tmp_path / "models").card.document
    assert card["recipe"]["mirrored"] is True

    older = tmp_path / "older"
    copytree(run_with_folds, older)
    replace(before, mirrored=None).save(older / "out-of-fold.npz")
    with pytest.raises(ConfigurationError, match="train that run again"):
        average_runs([RunFolder.open(older)], tmp_path / "new", mirrored=True)


def test_runs_that_do_not_fit_together_are_not_averaged(bars: Path, run_with_folds: Path, tmp_path: Path) -> None:
    plain = make_run(bars, tmp_path / "plain", "--epochs", "1")
    runs = [RunFolder.open(run_with_folds), RunFolder.open(plain)]
    with pytest.raises(ConfigurationError, match="different numbers of folds"):
        average_runs(runs, tmp_path / "both")
    with pytest.raises(ConfigurationError, match="two runs at least"):
        average_runs(runs[:1], tmp_path / "both")
    with pytest.raises(ConfigurationError, match="already holds a run"):
        average_runs([runs[0], runs[0]], run_with_folds)


def test_a_student_learns_what_its_teachers_answer_and_goes_on_where_it_stood(
    bars: Path, run_with_folds: Path, tmp_path: Path
) -> None:
    asked = ("--folds", "3", "--teacher", str(run_with_folds), "--unlabelled", str(bars))
    student = make_run(bars, tmp_path / "student", *asked)
    teacher_file = RunFolder.open(run_with_folds).best_file
    parameters = RunFolder.open(student).description["parameters"]
    assert parameters["teachers"] == [{"recipe": TINY.name, "sha256": sha256_of(teacher_file)}]
    assert parameters["unlabelled"] == 40  # the fractured ones among the 120 of the training split

    predictions = OutOfFold.load(student / "out-of-fold.npz")
    for fold, (rest, _) in enumerate(each_fold(predictions.folds), start=1):
        taught = np.load(student / f"fold-{fold}" / "taught.npy")
        assert taught.shape == (len(rest) + 40, 2)
        # What a picture is taught by never saw the fold: it is that fold's own teacher.
        assert taught.sum(axis=1) == pytest.approx(1.0, abs=1e-5)
    answers = [np.load(student / part / "taught.npy")[-40:] for part in ("fold-1", "fold-2", ".")]
    assert np.abs(answers[0] - answers[1]).max() > 0.01
    assert np.abs(answers[0] - answers[2]).max() > 0.01

    history = (student / "history.csv").read_text()
    make_run(bars, student, *asked)
    assert (student / "history.csv").read_text() == history


def test_a_teacher_that_has_seen_what_judges_the_student_is_refused(
    bars: Path, run_with_folds: Path, tmp_path: Path
) -> None:
    def refusal(*options: str) -> str:
        asked = [TINY.name, "--data", str(bars), "--weights", "none", "--allow-leakage", "--run", str(tmp_path / "no")]
        return str(CliRunner().invoke(train, [*asked, *options]).exception)

    assert "with 3 folds, the student with 0" in refusal("--teacher", str(run_with_folds))
    assert "--unlabelled needs --teacher" in refusal("--unlabelled", str(bars))
    assert "no training run" in refusal("--teacher", str(tmp_path / "nowhere"))
