"""Krippendorff's alpha, against his own worked examples and the definition over pairs."""

import math
from collections.abc import Callable
from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.metrics import raters

Floats = NDArray[np.float64]

# Krippendorff (2011), example C: four observers, twelve units, missing ratings.
EXAMPLE = """
1 2 3 3 2 1 4 1 2 . . .
1 2 3 3 2 2 4 1 2 5 . 3
. 3 3 3 2 3 4 2 2 5 1 .
1 2 3 3 2 4 4 1 2 5 1 .
"""


def example() -> Floats:
    rows = [line.replace(".", "nan").split() for line in EXAMPLE.strip().split("\n")]
    return np.array(rows, float).T


def counted(ratings: Floats) -> NDArray[np.int64]:
    values = np.unique(ratings[~np.isnan(ratings)])
    return np.stack([(ratings == value).sum(1) for value in values], 1).astype(np.int64)


def test_krippendorff_s_example() -> None:
    assert raters.nominal(counted(example())) == pytest.approx(0.743, abs=5e-4)
    assert raters.interval(example()) == pytest.approx(0.849, abs=5e-4)


def over_pairs(ratings: Floats, apart: Callable[[float, float], float]) -> float:
    """Disagreement within units over that between any two ratings, pair by pair."""
    units = [[v for v in unit if not math.isnan(v)] for unit in ratings.tolist()]
    units = [unit for unit in units if len(unit) > 1]
    everything = [value for unit in units for value in unit]
    n = len(everything)
    chance = sum(apart(a, b) for a, b in permutations(everything, 2)) / (n * (n - 1)) if n else 0
    seen = sum(
        2 * sum(apart(a, b) for a, b in combinations(unit, 2)) / (len(unit) - 1) for unit in units
    )
    return 1 - seen / n / chance if chance else math.nan


rating = st.one_of(st.just(math.nan), st.integers(1, 4).map(float))
table = st.integers(2, 4).flatmap(
    lambda width: st.lists(st.lists(rating, min_size=width, max_size=width), min_size=1, max_size=8)
)


@settings(max_examples=100, deadline=None)
@given(table)
def test_alpha_is_the_definition_over_pairs(found: list[list[float]]) -> None:
    ratings = np.array(found)
    nominal = over_pairs(ratings, lambda a, b: float(a != b))
    interval = over_pairs(ratings, lambda a, b: (a - b) ** 2)
    if not np.isnan(ratings).all():
        assert raters.nominal(counted(ratings)) == pytest.approx(nominal, abs=1e-9, nan_ok=True)
    assert raters.interval(ratings) == pytest.approx(interval, abs=1e-9, nan_ok=True)


def test_the_limits() -> None:
    agreed = np.array([[1.0, 1.0, math.nan], [3.0, 3.0, 3.0]])
    assert raters.interval(agreed) == pytest.approx(1)
    assert raters.nominal(counted(agreed)) == pytest.approx(1)
    for value in (0.1, 0.7, 1000.3):
        assert math.isnan(raters.interval(np.full((7, 3), value)))
    assert math.isnan(raters.interval(np.array([[1.0, math.nan], [math.nan, 2.0]])))
