"""What is fitted after training, on predictions for images that did not train the network.

Temperature, and for the binary question a shift: make confidence honest. Prediction sets: hold the truth for at least
nine images in ten. Decision: from which probability on "fractured" is the answer. Doubt: when a person should look.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.optimize import minimize, minimize_scalar
from sklearn.isotonic import IsotonicRegression

from core.answers import calibrate
from core.bundle import ModelCard
from training.metrics import Floats, Indices, Truths

#: Temperatures that are considered. A network that has learnt nothing ends at the upper one: almost equal scores.
BOUNDS = (0.05, 20.0)
#: Share of images whose true class a prediction set holds.
COVERAGE = 0.9
#: Share of the fractures that the binary question finds.
SENSITIVITY = 0.9
#: Share of the fractures that it finds or flags for a person.
SENSITIVITY_WITH_DOUBT = 0.95
_PLACES = 6


@dataclass(frozen=True)
class Calibration:
    """What `fit_calibration` finds; the fields are those of `ModelCard`."""

    temperature: float
    shift: float
    conformal_threshold: float
    decision_threshold: float | None
    doubt_threshold: float | None
    doubt_band: tuple[float, float] | None

    def on(self, card: ModelCard) -> ModelCard:
        """Return a card with these values in the place of its own."""
        return replace(card, **vars(self))

    def document(self, labels: Sequence[str], fitted_on: str, targets: Indices) -> dict[str, Any]:
        """Return the card's sections.

        Args:
            labels: Of the model.
            fitted_on: In words.
            targets: (N,) true classes of the images that it was fitted on.
        """
        images = {"fitted_on": fitted_on, "images": len(targets)}
        found = {"method": "temperature", "temperature": self.temperature}
        if self.decision_threshold is not None:
            found = {"method": "temperature and shift", "temperature": self.temperature, "shift": self.shift}
        document: dict[str, Any] = {
            "calibration": {**found, **images},
            "conformal": {
                "method": "split conformal, score 1 - p(truth)",
                "coverage": COVERAGE,
                "threshold": self.conformal_threshold,
                **images,
                "size_from_frequencies": size_from_frequencies(targets, len(labels)),
            },
            "decision": None,
        }
        if self.doubt_band is None or self.decision_threshold is None:
            rule = "top probability below the one from which on answers are right more often than wrong"
            document["doubt"] = {"threshold": self.doubt_threshold, "rule": rule, **images}
            return document
        first, (low, high) = labels[0], self.doubt_band
        document["decision"] = {
            "label": first,
            "threshold": self.decision_threshold,
            "sensitivity_wanted": SENSITIVITY,
            "chosen_on": fitted_on,
            "images": len(targets),
        }
        rule = (
            f"from where {SENSITIVITY_WITH_DOUBT:.0%} of the {first} are found to where {first} is right more often "
            "than wrong"
        )
        document["doubt"] = {"low": low, "high": high, "label": first, "rule": rule, **images}
        return document


def fit_calibration(probabilities: Floats, targets: Indices, *, decides: bool) -> Calibration:
    """Fit everything.

    Args:
        probabilities: (N, classes) float64, uncalibrated, of images that did not train the network.
        targets: (N,) true class indices.
        decides: Whether there is a decision to take: two classes, the first one not to be missed.
    """
    if not decides:
        temperature = fit_temperature(probabilities, targets)
        scores = calibrate(probabilities, temperature)
        top = scores.argmax(axis=1)
        doubt = turning_point(scores.max(axis=1), top == targets)
        return Calibration(temperature, 0.0, conformal_threshold(scores, top, targets), None, doubt, None)
    temperature, shift = fit_temperature_and_shift(probabilities, targets)
    scores = calibrate(probabilities, temperature, shift)
    first, positive = scores[:, 0], targets == 0
    decision = sensitivity_threshold(first, positive, SENSITIVITY)
    conformal = conformal_threshold(scores, (first < decision).astype(np.int64), targets)
    low = min(decision, sensitivity_threshold(first, positive, SENSITIVITY_WITH_DOUBT))
    band = (low, max(decision, turning_point(first, positive)))
    return Calibration(temperature, shift, conformal, decision, None, band)


def fit_temperature(probabilities: Floats, targets: Indices) -> float:
    """Find the temperature with the least negative log-likelihood.

    Args:
        probabilities: (N, classes) float64, uncalibrated, of images that did not train the network.
        targets: (N,) true class indices.

    Returns:
        The temperature, above 1 for a network that is too sure of itself; within BOUNDS, rounded to 4 places, as
        the card has it.

    Source: Guo et al. 2017, On Calibration of Modern Neural Networks. The likelihood has one maximum in 1 / T.
    """

    def loss(log_temperature: float) -> float:
        scores = calibrate(probabilities, float(np.exp(log_temperature)))
        return -float(np.log(np.clip(scores[np.arange(len(targets)), targets], 1e-12, 1)).mean())

    low, high = np.log(BOUNDS)
    found = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-6})
    return round(float(np.exp(found.x)), 4)


def fit_temperature_and_shift(probabilities: Floats, targets: Indices) -> tuple[float, float]:
    """Find the temperature and the shift of the first class with the least negative log-likelihood.

    A penalised or weighted fit may be off by a constant, which no temperature mends. Measured on fracture-binary, out
    of fold (logistic regression over EfficientNet-Lite2): an expected calibration error of 0.026 with a temperature
    alone, 0.011 with both.

    Args:
        probabilities: (N, 2) float64, uncalibrated, of images that did not train the network.
        targets: (N,) true class indices.

    Returns:
        The temperature, within BOUNDS, and the shift in nats, both rounded to 4 places, as the card has them.

    Source: Platt 1999, Probabilistic Outputs for Support Vector Machines.
    """
    logits = np.log(np.clip(probabilities, 1e-12, None))
    difference, signs = logits[:, 0] - logits[:, 1], np.where(targets == 0, 1.0, -1.0)

    def loss(found: Floats) -> float:
        return float(np.logaddexp(0.0, -signs * (found[0] * difference + found[1])).mean())

    # Convex in the inverse of the temperature and the shift.
    limits = [(1 / BOUNDS[1], 1 / BOUNDS[0]), (-20.0, 20.0)]
    slope, shift = minimize(loss, np.array([1.0, 0.0]), method="L-BFGS-B", bounds=limits, options={"ftol": 1e-12}).x
    return round(float(1 / slope), 4), round(float(shift), 4)


def conformal_threshold(scores: Floats, given: Indices, targets: Indices, coverage: float = COVERAGE) -> float:
    """Return the probability from which on a class belongs to the prediction set; the given label always does.

    Split conformal prediction: the truth of a new image is in its set with at least this probability, however good or
    bad the network is, as long as new images come from where these came from. Images of one source are not
    independent; what that does to the measured coverage shows in its interval over sources, which `evaluate` gives.

    The score is 1 - p(truth), which gives the smallest sets on average (Sadinle, Lei and Wasserman 2019, Least
    ambiguous set-valued classifiers), and 0 where the truth is the label, so that the coverage is that of the sets as
    they are shown. Adaptive sets (Romano, Sesia and Candes 2020) spread coverage more evenly over easy and hard
    images. Measured on bone-break's validation split, fitted and judged on different sources in five folds: 7.7 of ten
    classes and coverage 0.91 here, 7.8 and 0.90 with adaptive sets, 7.8 and 0.90 with regularised ones. Nothing is
    gained, so the simple rule stays: a set is what lies above one number.

    Args:
        scores: (N, classes) calibrated.
        given: (N,) the label that each image is given.
        targets: (N,) true class indices.
        coverage: The share of images whose truth the sets hold.

    Returns:
        0 to 1; 0, which makes every set whole, when there are too few images for this coverage.
    """
    of_truth = np.sort(np.where(given == targets, 1.0, scores[np.arange(len(targets)), targets]))
    missed = int(np.floor((1 - coverage) * (len(of_truth) + 1) + 1e-9)) - 1  # so many truths may lie below
    return _down(float(of_truth[missed])) if missed >= 0 else 0.0


def size_from_frequencies(targets: Indices, classes: int, coverage: float = COVERAGE) -> dict[str, float]:
    """Return the size of sets made from class frequencies alone, which a model's sets have to beat.

    Args:
        targets: (N,) true class indices of the images that the sets are fitted on.
        classes: Number of classes.
        coverage: The share of images whose truth the sets hold.

    Returns:
        `fixed`: how many of the most frequent classes hold that share. `randomised`: the mean size when the last of
        them is taken only as often as needed; the smaller and fairer of the two.
    """
    shares = np.sort(np.bincount(targets, minlength=classes) / len(targets))[::-1]
    held = np.cumsum(shares)
    fixed = int(np.searchsorted(held, coverage - 1e-12)) + 1
    before = held[fixed - 2] if fixed > 1 else 0.0
    return {"fixed": fixed, "randomised": round(float(fixed - 1 + (coverage - before) / shares[fixed - 1]), 4)}


def sensitivity_threshold(scores: Floats, positive: Truths, sensitivity: float) -> float:
    """Return the highest score that finds this share of new positive images, counted as in conformal prediction.

    Args:
        scores: (N,) calibrated probabilities of being positive.
        positive: (N,) truth.
        sensitivity: The wanted share.

    Returns:
        0 to 1; 0 when there are too few positive images.
    """
    ordered = np.sort(scores[positive])
    missed = int(np.floor((1 - sensitivity) * (len(ordered) + 1) + 1e-9))
    return _down(float(ordered[missed - 1])) if missed else 0.0


def turning_point(confidence: Floats, hits: Truths) -> float:
    """Return the confidence from which on answers are right at least as often as wrong; 1 if they never are.

    The share of right answers is fitted as a rising function of confidence (isotonic regression).
    """
    order = np.argsort(confidence, kind="stable")
    fitted = IsotonicRegression(y_min=0, y_max=1).fit_transform(confidence[order], hits[order].astype(np.float64))
    good = fitted >= 0.5
    return _down(float(confidence[order][good.argmax()])) if good.any() else 1.0


def _down(threshold: float) -> float:
    """Round down, so that the image which sets a threshold still reaches it."""
    return float(np.floor(threshold * 10**_PLACES) / 10**_PLACES)
