"""Class weights, against scikit-learn and the formula of Cui et al. (2019)."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight

from pipeline.splits import imbalance

labels = st.lists(st.integers(0, 3), max_size=60).map(lambda found: [*found, 0, 1, 2, 3])


@settings(max_examples=40, deadline=None)
@given(labels)
def test_balanced_weights_are_scikit_learn_s(found: list[int]) -> None:
    expected = compute_class_weight("balanced", classes=np.arange(4), y=found)
    weights = imbalance.weights("balanced", found, 4, 0.0)
    assert weights == pytest.approx(expected)
    assert weights is not None
    assert weights[found].mean() == pytest.approx(1)  # 1 a clip


@settings(max_examples=40, deadline=None)
@given(labels, st.sampled_from([0.0, 0.9, 0.999, 0.999999]))
def test_effective_numbers_written_out(found: list[int], beta: float) -> None:
    """Equation 2, E_n = 1 + beta + ... + beta^(n - 1); weights are inverse, 1 on average."""
    inverse = [1 / sum(beta**k for k in range(found.count(c))) for c in range(4)]
    expected = [4 * value / sum(inverse) for value in inverse]
    weights = imbalance.weights("effective-number", found, 4, beta)
    assert weights == pytest.approx(expected, rel=1e-5)


def test_beta_goes_from_none_to_balanced() -> None:
    found = [0] * 90 + [1] * 10
    assert imbalance.weights("none", found, 2, 0.5) is None
    assert imbalance.weights("effective-number", found, 2, 0.0) == pytest.approx([1, 1])
    near = imbalance.weights("effective-number", found, 2, 1 - 1e-9)
    balanced = imbalance.weights("balanced", found, 2, 0.0)
    assert near is not None
    assert balanced is not None
    assert near[1] / near[0] == pytest.approx(balanced[1] / balanced[0], rel=1e-5)
