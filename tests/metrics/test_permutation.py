"""The permutation test against scipy's and brute force, its error rates, and Holm's adjustment."""

import itertools
from typing import Any

import numpy as np
import pytest
from scipy import stats

from pipeline.metrics import permutation
from pipeline.metrics.arrays import Floats


def mean(values: Any, counts: Any = 1) -> permutation.Score:
    """The mean of units that count so often each."""
    values, counts = np.asarray(values, np.float64), np.full(len(values), counts, np.float64)

    def score(weights: Floats) -> Floats:
        found: Floats = weights @ values / (weights @ counts)
        return found

    return score


def ours(values: Any, groups: Any, strata: Any = None, seed: int = 0) -> permutation.Gap:
    groups = np.asarray(groups)
    strata = np.zeros(len(groups), np.int64) if strata is None else np.asarray(strata)
    return permutation.gap(groups, strata, mean(values), seed)


def spread(*samples: Any, axis: int) -> Any:
    return np.ptp(np.stack([sample.mean(axis) for sample in samples]), axis=0)


@pytest.mark.parametrize("sizes", [(4, 4), (3, 6), (3, 3, 4), (2, 2, 2, 2)])
def test_few_units_are_scipys_exact_test(sizes: tuple[int, ...]) -> None:
    rng = np.random.default_rng(len(sizes))
    samples = [rng.normal(n / 2, 1, size) for n, size in enumerate(sizes)]
    groups = np.repeat(np.arange(len(sizes)), sizes)
    found = ours(np.concatenate(samples), groups)
    peer = stats.permutation_test(
        samples, spread, vectorized=True, n_resamples=np.inf, alternative="greater"
    )
    assert (found.gap, found.p) == pytest.approx((peer.statistic, peer.pvalue), abs=1e-12)
    assert found.exact
    assert found.assignments == len(peer.null_distribution)


def test_many_units_are_near_scipys_random_test() -> None:
    rng = np.random.default_rng(5)
    samples = [rng.normal(0, 1, 20), rng.normal(0.6, 1, 22)]
    found = ours(np.concatenate(samples), np.repeat([0, 1], [20, 22]))
    peer = stats.permutation_test(
        samples, spread, vectorized=True, n_resamples=20_000, alternative="greater", rng=1
    )
    assert not found.exact
    # Two means of 20,000 draws: their difference has a deviation of less than 0.0035.
    assert found.p == pytest.approx(peer.pvalue, abs=0.015)
    assert 0.005 < found.p < 0.3


def test_within_strata_by_brute_force() -> None:
    """All 10! orders that leave each unit's stratum alone, as sets of what they assign."""
    values = np.array([0.1, 0.9, 0.4, 0.7, 0.2, 3.0, 3.5, 2.0, 4.0])
    groups, strata = np.array([0, 1, 0, 1, 1, 0, 1, 1, 1]), np.array([0, 0, 0, 0, 0, 1, 1, 1, 1])
    found, every = ours(values, groups, strata), set()
    for first in itertools.permutations(groups[:5]):
        every |= {(*first, *second) for second in itertools.permutations(groups[5:])}
    gaps = [abs(values[np.array(g) == 1].mean() - values[np.array(g) == 0].mean()) for g in every]
    expected = np.mean([gap >= found.gap - 1e-9 for gap in gaps])
    assert found.p == pytest.approx(expected)
    assert found.assignments == len(every)
    # Interleaved, so that places and strata are not in one order.
    order = np.random.default_rng(0).permutation(9)
    assert ours(values[order], groups[order], strata[order]) == found


def test_what_strata_differ_in_is_no_evidence() -> None:
    """Group 1 is mostly of the second stratum, which scores higher; within strata nothing."""
    each = [0.0, 0.1, 0.2, 0.3, 0.1, 0.0, 0.2]
    values = [*each, *(value + 1 for value in each)]
    groups, strata = np.repeat([0, 1, 0], [6, 7, 1]), np.repeat([0, 1], 7)
    assert ours(values, groups).p < 0.05
    assert ours(values, groups, strata).p > 0.2


def test_random_assignments_within_strata_agree_with_all_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(2)
    groups, strata = np.tile([0, 1], 7), np.repeat([0, 1], 7)
    values = rng.normal(0, 1, 14) + 0.5 * groups + 2 * strata
    exact = ours(values, groups, strata)
    monkeypatch.setattr(permutation, "EXACT", exact.assignments - 1)
    drawn = ours(values, groups, strata)
    assert exact.exact
    assert not drawn.exact
    assert drawn.p == pytest.approx(exact.p, abs=0.05)


@pytest.mark.parametrize(("effect", "least", "most"), [(0.0, 0.02, 0.08), (0.35, 0.8, 1.0)])
def test_it_rarely_errs_and_often_finds(effect: float, least: float, most: float) -> None:
    """Recalls of 12 speakers, 6 in each group, 20 utterances each: how often p is below 0.05.

    Of 300 tests without an effect 9 to 22 are, in 95 of 100 such tries.
    """
    rng, groups = np.random.default_rng(0), np.repeat([0, 1], 6)
    below = []
    for _ in range(300):
        skill = np.clip(rng.normal(0.5, 0.1, 12) + effect * groups, 0, 1)
        recall = mean(rng.binomial(20, skill), 20)
        below.append(permutation.gap(groups, np.zeros(12, np.int64), recall, 0).p <= 0.05)
    assert least <= np.mean(below) <= most


def test_holm_by_hand() -> None:
    # 4 * 0.005, 3 * 0.01, 2 * 0.03, then 0.04, which may not be below the one before.
    assert permutation.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert permutation.holm([0.9, 0.6]) == [1.0, 1.0]
    assert permutation.holm([0.2]) == [0.2]
    assert permutation.holm([]) == []
