"""Averages and their weights: NumPy by hand, scikit-learn's soft voting, SciPy's minimiser."""

from itertools import product

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from sklearn.ensemble import VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.preprocessing import LabelEncoder

from pipeline.metrics import mixture

RNG = np.random.default_rng(0)


def told(systems: int, utterances: int, classes: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    shares: np.ndarray = softmax(rng.normal(0, 1, (systems, utterances, classes)), -1)
    return shares


@pytest.mark.parametrize("weights", [(1.0, 1.0), (3.0, 1.0), (0.0, 0.2)])
def test_the_average_is_that_of_scikit_learn_s_soft_voting(weights: tuple[float, float]) -> None:
    x, y = RNG.normal(0, 1, (90, 4)), RNG.integers(0, 3, 90)
    x[:, 0] += y
    members = [("a", LogisticRegression().fit(x, y)), ("b", GaussianNB().fit(x, y))]
    peer = VotingClassifier(members, voting="soft", weights=weights)
    peer.estimators_, peer.le_ = [m for _, m in members], LabelEncoder().fit(y)
    peer.classes_ = peer.le_.classes_
    probabilities = np.stack([m.predict_proba(x) for _, m in members])
    found = mixture.mixed(probabilities, weights)
    np.testing.assert_allclose(found, peer.predict_proba(x), rtol=1e-12)
    np.testing.assert_allclose(softmax(mixture.logits(found), 1), found, rtol=1e-12)
    by_hand = (weights[0] * probabilities[0] + weights[1] * probabilities[1]) / sum(weights)
    np.testing.assert_allclose(found, by_hand, rtol=1e-12)


def test_what_is_impossible_has_a_finite_logit() -> None:
    found = mixture.logits(np.array([[1.0, 0.0]]))
    assert np.isfinite(found).all() and log_softmax(found, 1)[0, 0] == 0


@pytest.mark.parametrize("seed", range(4))
def test_the_likeliest_weights_are_those_of_a_minimiser(seed: int) -> None:
    found = told(3, 60, 4, seed)
    truth = np.random.default_rng(seed).integers(0, 4, 60)
    found[1, np.arange(60), truth] += 0.3
    found[1] /= found[1].sum(1, keepdims=True)
    shares = np.eye(4)[truth] * 0.7 + 0.075

    def loss(free: np.ndarray) -> float:
        return float(-(shares * np.log(np.tensordot(softmax(free), found, 1))).sum())

    peer = softmax(minimize(loss, np.zeros(3), options={"gtol": 1e-9}).x)
    np.testing.assert_allclose(mixture.likeliest(found, shares), peer, atol=2e-3)


def test_one_system_that_is_right_gets_all_the_weight() -> None:
    truth = np.eye(3)[RNG.integers(0, 3, 40)]
    flat = np.full((40, 3), 1 / 3)
    assert mixture.likeliest(np.stack([flat, truth * 0.9 + 0.1 / 3, flat]), truth) == [0, 1, 0]
    assert mixture.likeliest(np.stack([flat, flat]), truth) == [0.5, 0.5]


@pytest.mark.parametrize("seed", range(4))
def test_the_nearest_weights_are_the_best_of_a_grid(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.normal(0, [1, 20], (50, 2))
    noise = rng.normal(0, 1, (3, 50, 2)) * rng.uniform(0.2, 3, 3)[:, None, None]
    found = truth + noise * [1, 20] + rng.normal(0, 0.5, (3, 1, 1))

    def loss(weights: list[float]) -> float:
        error = (np.tensordot(weights, found, 1) - truth) / truth.std(0)
        return float((error**2).mean())

    steps = [i / 50 for i in range(51)]
    grid = [[a, b, 1 - a - b] for a, b in product(steps, steps) if a + b <= 1]
    weights = mixture.nearest(found, truth)
    assert min(weights) >= 0 and sum(weights) == pytest.approx(1, abs=2e-4)
    assert loss(weights) <= min(loss(one) for one in grid) * (1 + 1e-3)
