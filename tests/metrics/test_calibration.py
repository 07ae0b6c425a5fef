"""Expected calibration error, against its definition written out."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.metrics.calibration import reliability


def written_out(answers: list[tuple[float, bool]], bins: int) -> float:
    """Equations 2 and 3 of Guo et al. (2017): bin m is ((m - 1) / M, m / M]."""
    error = 0.0
    for m in range(1, bins + 1):
        low, high = (m - 1) / bins, m / bins
        inside = [(c, hit) for c, hit in answers if low < c <= high or (m == 1 and c == 0)]
        if inside:
            accuracy = sum(hit for _, hit in inside) / len(inside)
            confidence = sum(c for c, _ in inside) / len(inside)
            error += len(inside) / len(answers) * abs(accuracy - confidence)
    return error


# Multiples of 1/64 and 16 bins: edges are exact.
answers = st.lists(
    st.tuples(st.integers(0, 64).map(lambda n: n / 64), st.booleans()), min_size=1, max_size=50
)


@settings(max_examples=80, deadline=None)
@given(answers, st.sampled_from([1, 4, 16]))
def test_ece_is_the_definition(found: list[tuple[float, bool]], bins: int) -> None:
    confidence, right = np.array([c for c, _ in found]), np.array([hit for _, hit in found])
    bars = reliability(confidence, right, bins)
    assert bars.ece == pytest.approx(written_out(found, bins), abs=1e-12)
    assert bars.counts.sum() == len(found)


def test_bins_by_hand() -> None:
    bars = reliability(np.array([0.55, 0.65, 0.95, 1.0]), np.array([True, False, True, True]), 2)
    assert bars.counts.tolist() == [0, 4]
    assert math.isnan(bars.accuracy[0])
    assert bars.accuracy[1] == 0.75
    assert bars.confidence[1] == pytest.approx(0.7875)
    assert bars.ece == pytest.approx(0.0375)


def test_no_answer_has_no_error() -> None:
    assert math.isnan(reliability(np.zeros(0), np.zeros(0, bool)).ece)
