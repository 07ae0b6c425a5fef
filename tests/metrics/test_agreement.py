"""Agreement of values, against Lin's formula by hand, SciPy, scikit-learn, and in its limits."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import pearsonr
from sklearn.metrics import mean_absolute_error

from pipeline.metrics import agreement, resampling

Floats = NDArray[np.float64]


def lin(x: Floats, y: Floats) -> float:
    """Equation 2 of Lin (1989), sums written out; NaN for 0 / 0."""
    n = len(x)
    mx, my = math.fsum(x) / n, math.fsum(y) / n
    covariance = math.fsum((a - mx) * (b - my) for a, b in zip(x, y, strict=True)) / n
    spread = math.fsum((a - mx) ** 2 for a in x) / n + math.fsum((b - my) ** 2 for b in y) / n
    whole = spread + (mx - my) ** 2
    return 2 * covariance / whole if whole > 0 else math.nan


pairs = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=2, max_size=40)


@settings(max_examples=80, deadline=None)
@given(pairs, st.sampled_from([0.0, 0.1, 1000.3]))
def test_concordance_is_lin_s_formula(found: list[tuple[int, int]], offset: float) -> None:
    """Integers are exact; an offset that both sides have changes nothing."""
    truth, guess = np.array(found, float).T
    actual = agreement.concordance(truth + offset, guess + offset)
    assert actual == pytest.approx(lin(truth, guess), rel=1e-6, abs=1e-9, nan_ok=True)


X = np.array([1.0, 2.5, 4.0, 4.5, 6.0])


@pytest.mark.parametrize(
    ("truth", "guess", "expected"),
    [
        (X, X, 1.0),
        (X, 7 - X, None),  # by the formula, negative
        (X, X + 2, None),  # shifted: r is 1, concordance is not
        (X, 3 * X, None),
        (X, np.full(5, 3.1), 0.0),
        (np.full(5, 0.1), X, 0.0),
        (np.full(3, 0.1), np.full(3, 0.3), 0.0),
        (np.full(3, 0.1), np.full(3, 0.1), math.nan),
        (X[:1], X[:1], math.nan),
        (X[:1], X[:1] + 1, 0.0),
    ],
)
def test_the_limits_of_concordance(truth: Floats, guess: Floats, expected: float | None) -> None:
    wanted = lin(truth, guess) if expected is None else expected
    found = agreement.concordance(truth, guess)
    assert found == pytest.approx(wanted, abs=1e-12, nan_ok=True)
    assert found == pytest.approx(agreement.concordance(guess, truth), abs=1e-12, nan_ok=True)


def test_concordance_of_a_shift_by_hand() -> None:
    """Variance 2 on both sides, means 1 apart: 4 / (4 + 1)."""
    x = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    assert agreement.concordance(x, x + 1) == pytest.approx(0.8, abs=1e-12)
    assert agreement.concordance(x, 6 - x) == pytest.approx(-1.0, abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(pairs)
def test_pearson_and_mae_equal_their_peers(found: list[tuple[int, int]]) -> None:
    truth, guess = np.array(found, float).T / 10
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # constant input
        expected = pearsonr(truth, guess).statistic
    assert agreement.pearson(truth, guess) == pytest.approx(expected, abs=1e-9, nan_ok=True)
    assert agreement.mae(truth, guess) == pytest.approx(mean_absolute_error(truth, guess))


def test_resamples_are_those_of_the_repeated_utterances() -> None:
    rng = np.random.default_rng(0)
    groups = np.append(rng.integers(0, 5, 80), [5, 5, 5])
    truth = np.append(rng.uniform(1, 7, 80), [2.3, 2.3, 2.3])  # a speaker who is always the same
    guess = truth + rng.normal(0.3, 0.8, 83)
    weights = np.vstack([resampling.resample(6, 60, rng), [0, 0, 0, 0, 0, 4]])
    found = [
        compute(truth, guess, groups, weights)
        for compute in (
            agreement.concordance_resamples,
            agreement.pearson_resamples,
            agreement.mae_resamples,
        )
    ]
    for drawn, concordance, pearson, mae in zip(weights[:-1], *found, strict=False):
        rows = np.repeat(np.arange(83), drawn[groups].astype(int))
        assert concordance == pytest.approx(lin(truth[rows], guess[rows]))
        assert pearson == pytest.approx(pearsonr(truth[rows], guess[rows]).statistic)
        assert mae == pytest.approx(np.abs(truth[rows] - guess[rows]).mean())
    assert found[0][-1] == 0
    assert math.isnan(found[1][-1])
