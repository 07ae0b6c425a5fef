"""Resampling of groups (speakers), and the interval that resampled scores span."""

import numpy as np

from pipeline.metrics.arrays import Floats


def resample(groups: int, resamples: int, rng: np.random.Generator) -> Floats:
    """How often each group is in each bootstrap resample, (resamples, groups)."""
    return rng.multinomial(groups, np.full(groups, 1 / groups), resamples).astype(np.float64)


def interval(values: Floats) -> tuple[float, float]:
    """The central 95 % of bootstrap values (percentiles); NaN ones are left out."""
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)
