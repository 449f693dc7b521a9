"""Figures against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from core.answers import calibrate
from training.calibrate import BOUNDS, fit_temperature
from training.metrics import (
    Floats,
    binomial_interval,
    class_figures,
    cluster_intervals,
    confusion_matrix,
    expected_calibration_error,
    figures,
    perfect_ece,
    roc_auc,
)

#: Six images of three classes: 0 0 0 1 1 2 are true, 0 0 1 1 1 0 are predicted.
TARGETS = np.array([0, 0, 0, 1, 1, 2])
PROBABILITIES = np.array(
    [
        [0.7, 0.2, 0.1],
        [0.6, 0.3, 0.1],
        [0.3, 0.6, 0.1],
        [0.1, 0.8, 0.1],
        [0.2, 0.5, 0.3],
        [0.5, 0.1, 0.4],
    ]
)


def test_the_confusion_matrix_has_true_classes_as_rows() -> None:
    predicted = PROBABILITIES.argmax(axis=1)
    assert confusion_matrix(predicted, TARGETS, 3).tolist() == [[2, 1, 0], [0, 2, 0], [1, 0, 0]]


def test_precision_recall_and_f1_of_each_class() -> None:
    found = class_figures(confusion_matrix(PROBABILITIES.argmax(axis=1), TARGETS, 3))
    assert found["precision"] == pytest.approx([2 / 3, 2 / 3, 0])
    assert found["recall"] == pytest.approx([2 / 3, 1, 0])
    assert found["f1"] == pytest.approx([2 / 3, 4 / 5, 0])


def test_the_figures_of_a_split() -> None:
    found = figures(PROBABILITIES, TARGETS)
    assert found["accuracy"] == pytest.approx(4 / 6)
    assert found["balanced_accuracy"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert found["macro_precision"] == pytest.approx((2 / 3 + 2 / 3 + 0) / 3)
    assert found["macro_recall"] == found["balanced_accuracy"]
    assert found["macro_f1"] == pytest.approx((2 / 3 + 4 / 5 + 0) / 3)
    assert found["top_2_accuracy"] == 1
    assert "top_3_accuracy" not in found  # with three classes it says nothing
    squares = [0.14, 0.26, 0.86, 0.06, 0.38, 0.62]
    assert found["brier"] == pytest.approx(sum(squares) / 6)
    assert found["log_loss"] == pytest.approx(-np.log([0.7, 0.6, 0.3, 0.8, 0.5, 0.4]).mean())


def test_figures_agree_with_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    generator = np.random.default_rng(3)
    targets = generator.integers(10, size=200)
    probabilities = generator.dirichlet(np.ones(10), size=200)
    predicted = probabilities.argmax(axis=1)
    found = figures(probabilities, targets)
    assert found["macro_f1"] == pytest.approx(metrics.f1_score(targets, predicted, average="macro"))
    assert found["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(targets, predicted))
    assert found["top_3_accuracy"] == pytest.approx(metrics.top_k_accuracy_score(targets, probabilities, k=3))
    assert found["log_loss"] == pytest.approx(metrics.log_loss(targets, probabilities))


def test_weights_count_images_several_times() -> None:
    weights = np.array([1.0, 0, 2, 1, 3, 0])
    repeated = np.repeat(np.arange(6), weights.astype(int))
    weighted = figures(PROBABILITIES, TARGETS, weights)
    assert weighted == pytest.approx(figures(PROBABILITIES[repeated], TARGETS[repeated]))


def test_the_two_class_figures_follow_the_label_that_was_given() -> None:
    # Three fractured, two not; called fractured from 0.2 on, as a bundle with a decision threshold does.
    probabilities = np.array([[0.9, 0.1], [0.3, 0.7], [0.1, 0.9], [0.25, 0.75], [0.05, 0.95]])
    targets = np.array([0, 0, 0, 1, 1])
    found = figures(probabilities, targets, predicted=(probabilities[:, 0] < 0.2).astype(np.int64))
    assert found["sensitivity"] == pytest.approx(2 / 3)
    assert found["specificity"] == pytest.approx(1 / 2)
    assert found["accuracy"] == pytest.approx(3 / 5)
    assert found["roc_auc"] == pytest.approx(5 / 6)  # the pair (0.1, 0.25) alone is the wrong way round


@pytest.mark.parametrize("decimals", [1, 6])  # with one decimal there are many ties
def test_the_area_agrees_with_scikit_learn(decimals: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    generator = np.random.default_rng(5)
    scores, positive = generator.random(300).round(decimals), generator.random(300) < 0.2
    weights = generator.integers(0, 4, 300).astype(np.float64)
    assert roc_auc(scores, positive) == pytest.approx(metrics.roc_auc_score(positive, scores))
    weighted = metrics.roc_auc_score(positive, scores, sample_weight=weights)
    assert roc_auc(scores, positive, weights) == pytest.approx(weighted)


def test_the_area_has_no_value_without_both_kinds() -> None:
    assert np.isnan(roc_auc(np.array([0.1, 0.2]), np.array([True, True])))


def test_the_area_of_many_classes_agrees_with_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    generator = np.random.default_rng(4)
    targets, probabilities = generator.integers(4, size=200), generator.dirichlet(np.ones(4), size=200)
    expected = metrics.roc_auc_score(targets, probabilities, multi_class="ovr")
    assert figures(probabilities, targets)["macro_roc_auc"] == pytest.approx(expected)


def test_the_calibration_error_of_two_equal_parts() -> None:
    # Half the images are sure (0.9) and right in 1 of 2, half unsure (0.6) and right in 2 of 2.
    confidence, hits = np.array([0.9, 0.9, 0.6, 0.6]), np.array([True, False, True, True])
    assert expected_calibration_error(confidence, hits, bins=2) == pytest.approx((0.4 + 0.4) / 2)


def test_the_calibration_error_takes_fewer_images_than_bins() -> None:
    assert expected_calibration_error(np.array([0.75]), np.array([True]), bins=10) == pytest.approx(0.25)


def test_a_perfectly_calibrated_model_stays_below_its_limit_nineteen_times_in_twenty() -> None:
    generator = np.random.default_rng(8)
    confidence = generator.uniform(0.2, 0.9, 150)
    mean, limit = perfect_ece(confidence)
    errors = [expected_calibration_error(confidence, generator.random(150) < confidence) for _ in range(2000)]
    assert mean == pytest.approx(np.mean(errors), rel=0.03)
    assert np.mean(np.array(errors) <= limit) == pytest.approx(0.95, abs=0.015)
    assert (mean, limit) == perfect_ece(confidence)


def test_an_overconfident_model_exceeds_the_limit() -> None:
    generator = np.random.default_rng(9)
    confidence = generator.uniform(0.5, 0.95, 400)
    hits = generator.random(400) < confidence - 0.2
    assert expected_calibration_error(confidence, hits) > perfect_ece(confidence)[1]


def test_the_exact_interval_of_a_share() -> None:
    # Clopper and Pearson's own values for 9 of 10.
    assert binomial_interval(9, 10) == pytest.approx((0.5550, 0.9975), abs=1e-4)
    assert binomial_interval(10, 10)[1] == 1


def intervals(probabilities: Floats, targets: np.ndarray, clusters: list[str]) -> dict[str, tuple[float, float]]:
    return cluster_intervals(lambda weights: figures(probabilities, targets, weights), clusters, draws=200)


def test_intervals_are_the_same_on_every_run_and_hold_the_figure() -> None:
    clusters = ["a", "a", "b", "c", "d", "e"]
    first = intervals(PROBABILITIES, TARGETS, clusters)
    assert first == intervals(PROBABILITIES, TARGETS, clusters)
    found = figures(PROBABILITIES, TARGETS)
    assert all(low <= found[name] <= high for name, (low, high) in first.items())


def test_whole_clusters_are_drawn() -> None:
    # 20 right and 20 wrong images: alone they give a narrow interval, as two sources anything is possible.
    probabilities = np.tile([[0.8, 0.2]], (40, 1))
    targets = np.array([0] * 20 + [1] * 20)
    alone = intervals(probabilities, targets, [str(index) for index in range(40)])["accuracy"]
    sources = intervals(probabilities, targets, ["right"] * 20 + ["wrong"] * 20)["accuracy"]
    assert 0.3 < alone[0] < 0.4 < 0.6 < alone[1] < 0.7
    assert sources == (0, 1)


def test_draws_without_a_positive_image_do_not_count() -> None:
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]])
    assert intervals(probabilities, np.array([0, 1, 1]), ["a", "b", "c"])["roc_auc"] == (1, 1)


def test_the_temperature_of_an_overconfident_network_is_found_again() -> None:
    generator = np.random.default_rng(0)
    honest = calibrate(generator.dirichlet(np.ones(5), size=20_000), 1.0)
    targets = (honest.cumsum(axis=1) < generator.random((20_000, 1))).sum(axis=1)
    overconfident = calibrate(honest, 1 / 2.5)
    assert fit_temperature(overconfident, targets) == pytest.approx(2.5, rel=0.03)
    assert fit_temperature(honest, targets) == pytest.approx(1, rel=0.03)


def test_a_network_that_knows_nothing_gets_the_greatest_temperature() -> None:
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1]])
    assert fit_temperature(probabilities, np.array([0, 1])) == pytest.approx(BOUNDS[1], rel=0.001)
