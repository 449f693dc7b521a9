"""What is fitted after training: on simulated data, where the right answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.answers import Answer, answers, calibrate
from core.engines.outputs import Outputs
from tests.fakes import make_card
from training.calibrate import (
    Calibration,
    conformal_threshold,
    fit_calibration,
    fit_temperature_and_shift,
    sensitivity_threshold,
    size_from_frequencies,
    turning_point,
)


def simulate(
    generator: np.random.Generator, images: int, classes: int = 5, sharpness: float = 0.5
) -> tuple[np.ndarray, np.ndarray]:
    """Calibrated probabilities, and truths drawn from them."""
    probabilities = generator.dirichlet(np.full(classes, sharpness), size=images)
    targets = (probabilities.cumsum(axis=1) < generator.random((images, 1))).sum(axis=1)
    return probabilities, np.minimum(targets, classes - 1)


def threshold_of(probabilities: np.ndarray, targets: np.ndarray) -> float:
    return conformal_threshold(probabilities, probabilities.argmax(axis=1), targets)


def sets_of(probabilities: np.ndarray, threshold: float) -> np.ndarray:
    return np.asarray((probabilities >= threshold) | (probabilities == probabilities.max(axis=1, keepdims=True)))


def coverage_of(probabilities: np.ndarray, targets: np.ndarray, threshold: float) -> float:
    return float(sets_of(probabilities, threshold)[np.arange(len(targets)), targets].mean())


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), classes=st.integers(3, 8), sharpness=st.sampled_from([0.5, 1.0, 2.0]))
def test_sets_hold_the_truth_as_often_as_stated(seed: int, classes: int, sharpness: float) -> None:
    generator = np.random.default_rng(seed)
    probabilities, targets = simulate(generator, 800, classes, sharpness)
    threshold = threshold_of(probabilities, targets)
    # Over calibration sets of this size coverage is Beta distributed around 0.9 with deviation 0.011.
    assert 0.85 < coverage_of(*simulate(generator, 20_000, classes, sharpness), threshold) < 0.95


def test_coverage_holds_on_average_over_small_calibration_sets() -> None:
    generator = np.random.default_rng(1)
    coverages = []
    for _ in range(2000):
        probabilities, targets = simulate(generator, 41)
        threshold = threshold_of(probabilities[:40], targets[:40])
        coverages.append(coverage_of(probabilities[40:], targets[40:], threshold))
    assert np.mean(coverages) > 0.9 - 0.015  # two deviations of the mean below; exactly 0.902 is promised


def test_a_network_that_is_wrong_gets_larger_sets_not_less_coverage() -> None:
    generator = np.random.default_rng(2)
    probabilities, targets = simulate(generator, 4000, sharpness=2.0)
    sizes = []
    for scores in (probabilities, probabilities[:, [1, 2, 3, 4, 0]]):
        threshold = threshold_of(scores[:2000], targets[:2000])
        assert coverage_of(scores[2000:], targets[2000:], threshold) == pytest.approx(0.9, abs=0.025)
        sizes.append(sets_of(scores[2000:], threshold).sum())
    assert sizes[1] > sizes[0]


def test_a_network_that_is_right_more_often_than_promised_gives_single_labels() -> None:
    probabilities, targets = simulate(np.random.default_rng(3), 500, sharpness=0.02)
    threshold = threshold_of(probabilities, targets)
    assert sets_of(probabilities, threshold).sum(axis=1).mean() == pytest.approx(1, abs=0.01)


def test_few_images_can_promise_nothing() -> None:
    assert threshold_of(*simulate(np.random.default_rng(4), 8)) == 0


def test_sets_from_frequencies_take_the_most_frequent_classes() -> None:
    targets = np.repeat([0, 1, 2, 3], [50, 30, 15, 5])
    assert size_from_frequencies(targets, 4) == {"fixed": 3, "randomised": pytest.approx(2 + 10 / 15, abs=1e-4)}
    assert size_from_frequencies(np.zeros(10, dtype=np.int64), 4) == {"fixed": 1, "randomised": 0.9}


def test_the_decision_finds_the_wanted_share_of_positive_images() -> None:
    generator = np.random.default_rng(4)
    scores, positive = generator.random(5000), generator.random(5000) < 0.3
    threshold = sensitivity_threshold(scores, positive, 0.9)
    assert (scores[positive] >= threshold).mean() >= 0.9
    assert threshold == pytest.approx(0.1, abs=0.02)
    assert sensitivity_threshold(scores[:5], np.ones(5, dtype=bool), 0.9) == 0  # five are too few to miss one


def test_the_turning_point_is_where_answers_are_right_as_often_as_wrong() -> None:
    generator = np.random.default_rng(5)
    confidence = generator.random(20_000)
    assert turning_point(confidence, generator.random(20_000) < confidence) == pytest.approx(0.5, abs=0.05)
    assert turning_point(confidence, np.zeros(20_000, dtype=bool)) == 1
    assert turning_point(confidence, np.ones(20_000, dtype=bool)) == pytest.approx(0, abs=0.001)


def given_by(calibration: Calibration, probabilities: np.ndarray, labels: list[str]) -> list[Answer]:
    card = calibration.on(make_card(labels=labels))
    return [answer for answer in answers(Outputs(probabilities), card) if answer]


def test_a_temperature_and_a_shift_of_the_first_class_are_found_again() -> None:
    honest, targets = simulate(np.random.default_rng(8), 20_000, 2, 1.0)
    # What calibration has to undo: logits halved, then the first class made likelier by 0.7 nats.
    crooked = calibrate(honest, 2.0, 0.7)
    temperature, shift = fit_temperature_and_shift(crooked, targets)
    assert temperature == pytest.approx(0.5, rel=0.05)
    assert shift == pytest.approx(-1.4, rel=0.05)  # the shift is halved and doubled again
    assert np.allclose(calibrate(crooked, temperature, shift), honest, atol=0.03)
    document = fit_calibration(crooked, targets, decides=True).document(["a", "b"], "valid", targets)
    assert document["calibration"] == {
        "method": "temperature and shift",
        "temperature": temperature,
        "shift": shift,
        "fitted_on": "valid",
        "images": 20_000,
    }


def test_without_a_decision_there_is_no_shift() -> None:
    probabilities, targets = simulate(np.random.default_rng(9), 500, 3)
    found = fit_calibration(probabilities, targets, decides=False)
    assert found.shift == 0
    assert "shift" not in found.document(["a", "b", "c"], "valid", targets)["calibration"]


def test_the_ten_class_calibration_of_an_overconfident_network() -> None:
    generator = np.random.default_rng(6)
    honest, targets = simulate(generator, 4000, 5, 1.0)
    labels = list("abcde")
    found = fit_calibration(calibrate(honest, 1 / 2), targets, decides=False)
    assert found.temperature == pytest.approx(2, rel=0.05)
    assert (found.decision_threshold, found.doubt_band) == (None, None)
    given_answers = given_by(found, calibrate(honest, 1 / 2), labels)
    hits = np.array([answer.label == labels[target] for answer, target in zip(given_answers, targets, strict=True)])
    covered = [labels[target] in answer.prediction_set for answer, target in zip(given_answers, targets, strict=True)]
    doubtful = np.array(["doubtful" in answer.flags for answer in given_answers])
    assert np.mean([answer.confidence for answer in given_answers]) == pytest.approx(hits.mean(), abs=0.02)
    assert np.mean(covered) == pytest.approx(0.9, abs=0.01)
    assert hits[doubtful].mean() < 0.5 < hits[~doubtful].mean()


def test_the_binary_calibration_finds_nine_fractures_in_ten_and_doubts_around_the_decision() -> None:
    generator = np.random.default_rng(7)
    honest, targets = simulate(generator, 6000, 2, 0.4)
    labels = ["fractured", "not-fractured"]
    found = fit_calibration(honest, targets, decides=True)
    assert found.decision_threshold is not None and found.doubt_band is not None
    low, high = found.doubt_band
    assert low < found.decision_threshold < high
    assert high == pytest.approx(0.5, abs=0.1)
    given_answers = given_by(found, honest, labels)
    called = np.array([answer.label == "fractured" for answer in given_answers])
    doubtful = np.array(["doubtful" in answer.flags for answer in given_answers])
    assert called[targets == 0].mean() == pytest.approx(0.9, abs=0.005)
    assert (called | doubtful)[targets == 0].mean() == pytest.approx(0.95, abs=0.005)


def test_the_card_says_what_was_fitted_and_on_what() -> None:
    probabilities, targets = simulate(np.random.default_rng(8), 300, 2)
    found = fit_calibration(probabilities, targets, decides=True)
    document = found.document(["fractured", "not-fractured"], "valid", targets)
    assert document["decision"]["label"] == "fractured"
    assert document["decision"]["sensitivity_wanted"] == 0.9
    assert {document[name]["images"] for name in ("calibration", "conformal", "doubt", "decision")} == {300}
    card = make_card(labels=["fractured", "not-fractured"], **document)
    assert found.on(card) == card
