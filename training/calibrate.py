"""Fit the temperature that makes a network's confidence honest."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar

from core.answers import calibrate
from training.metrics import Floats, Indices

#: Temperatures that are considered. A network that has learnt nothing ends at the upper one: almost equal scores.
BOUNDS = (0.05, 20.0)


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
