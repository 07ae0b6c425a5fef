"""Divergences of distributions, against SciPy and in their limits."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy

from pipeline.metrics import distributions

votes = st.lists(st.integers(0, 5), min_size=4, max_size=4).filter(any)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(votes, votes), min_size=1, max_size=6))
def test_both_equal_scipy(pairs: list[tuple[list[int], list[int]]]) -> None:
    """SciPy's distance is the root of the divergence."""
    truth, guess = (np.array(one, float) for one in zip(*pairs, strict=True))
    truth, guess = truth / truth.sum(1, keepdims=True), guess / guess.sum(1, keepdims=True)
    expected = jensenshannon(truth, guess, base=2, axis=1) ** 2
    assert distributions.jensen_shannon(truth, guess) == pytest.approx(expected, abs=1e-12)
    expected = entropy(truth, axis=1) + entropy(truth, guess, axis=1)
    assert distributions.cross_entropy(truth, guess) == pytest.approx(expected, abs=1e-12)


def test_the_limits() -> None:
    truth = np.array([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.2, 0.3, 0.5]])
    guess = np.array([[0.0, 0.4, 0.6], [0.5, 0.5, 0.0], [0.2, 0.3, 0.5]])
    assert distributions.jensen_shannon(truth, guess) == pytest.approx([1, 0, 0], abs=1e-12)
    found = distributions.cross_entropy(truth, guess)
    assert math.isinf(found[0])
    assert found[1] == pytest.approx(math.log(2))
