"""Averages of what several systems say, and the weights that fit a truth best."""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize

from pipeline.metrics.arrays import Floats

STEPS, ENOUGH = 10_000, 1e-10
DIGITS = 4  # of a weight


def mixed(told: Floats, weights: Sequence[float]) -> Floats:
    """The weighted mean of (systems, ...)."""
    share = np.asarray(weights, np.float64)
    found: Floats = np.tensordot(share / share.sum(), told, 1)
    return found


def logits(probabilities: Floats) -> Floats:
    """Their logarithm, whose softmax they are; none is impossible."""
    found: Floats = np.log(np.maximum(probabilities, np.finfo(np.float64).tiny))
    return found


def likeliest(told: Floats, shares: Floats) -> list[float]:
    """The weights under which the mixture makes the true shares likeliest, none below 0.

    By expectation and maximisation, which finds the only maximum (Dempster, Laird and Rubin 1977).

    Args:
        told: Probabilities, (systems, utterances, classes).
        shares: The truth, (utterances, classes), each of whose rows sums to 1.
    """
    weights = np.full(len(told), 1 / len(told))
    told = np.maximum(told, np.finfo(np.float64).tiny)
    for _ in range(STEPS):
        joint = weights[:, None, None] * told
        before, weights = weights, (joint / joint.sum(0) * shares).sum((1, 2)) / shares.sum()
        if np.abs(weights - before).max() < ENOUGH:
            break
    return _rounded(weights)


def nearest(told: Floats, truth: Floats) -> list[float]:
    """The weights, none below 0, whose mean is nearest to the truth: least squares.

    Args:
        told: Values, (systems, utterances, dimensions).
        truth: (utterances, dimensions); each counts in units of its deviation.
    """
    spread = truth.std(0)
    errors = (told - truth) / np.where(spread > 0, spread, 1)
    products = np.einsum("aud,bud->ab", errors, errors) / errors[0].size
    found = minimize(
        lambda w: w @ products @ w,
        np.full(len(told), 1 / len(told)),
        jac=lambda w: 2 * products @ w,
        method="SLSQP",
        bounds=[(0, 1)] * len(told),
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
        options={"ftol": 1e-12, "maxiter": 1000},
    )
    return _rounded(found.x)


def _rounded(weights: Floats) -> list[float]:
    """Another CPU may differ behind these digits; they sum to 1 but for the last."""
    return [round(float(weight), DIGITS) for weight in np.clip(weights, 0, 1)]
