"""How predicted values follow the true ones: Spearman's rho and R squared, and of resamples."""

import numpy as np

from pipeline.metrics.arrays import Floats, Ints, ratio

CHUNK = 128  # resamples whose ranks are held at once


def spearman(truth: Floats, guess: Floats) -> float:
    """Spearman's rho, ties at their mean rank; NaN where one side is constant."""
    middle = (len(truth) + 1) / 2
    one = np.ones(len(truth))
    return float(_correlation(_ranks(truth) - middle, _ranks(guess) - middle, one))


def spearman_resamples(truth: Floats, guess: Floats, groups: Ints, weights: Floats) -> Floats:
    """Spearman's rho of each resample, (resamples,), ranked anew in each.

    Args:
        truth: (utterances,).
        guess: (utterances,).
        groups: (utterances,) the group (speaker) that each belongs to.
        weights: (resamples, groups) how often each group was drawn.
    """
    ladders = [_ladder(values, groups, weights.shape[1]) for values in (truth, guess)]
    rhos = np.empty(len(weights))
    for start in range(0, len(weights), CHUNK):
        drawn = weights[start : start + CHUNK]
        times = drawn[:, groups]
        middle = times.sum(1, keepdims=True) / 2
        x, y = ((drawn @ below.T)[:, place] - middle for below, place in ladders)
        rhos[start : start + CHUNK] = _correlation(x, y, times)
    return rhos


def r_squared(truth: Floats, guess: Floats) -> float:
    """The coefficient of determination: above 0 it beats every constant guess; NaN for one truth.

    The best constant guess is the mean of ``truth`` itself, so that of training can't be better.
    """
    everyone = np.zeros(len(truth), np.int64)
    return float(r_squared_resamples(truth, guess, everyone, np.ones((1, 1)))[0])


def r_squared_resamples(truth: Floats, guess: Floats, groups: Ints, weights: Floats) -> Floats:
    """R squared of each resample, (resamples,); arguments as of `spearman_resamples`."""
    centred = truth - truth.mean()  # sums of squares then keep their digits
    parts = (np.ones(len(truth)), centred, centred**2, (guess - truth) ** 2)
    sums = [np.bincount(groups, part, weights.shape[1]) for part in parts]
    count, first, second, error = (weights @ by_group for by_group in sums)
    return 1 - ratio(error, second - first**2 / count)


def _ranks(values: Floats) -> Floats:
    """Ranks from 1, equal values at the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Floats = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return ranks


def _ladder(values: Floats, groups: Ints, count: int) -> tuple[Floats, Ints]:
    """How many of each group lie below each distinct value, equal ones at half, and its place.

    Shapes (values, groups) and (utterances,): drawn groups times the first give mid-ranks.
    """
    distinct, place = np.unique(values, return_inverse=True)
    at = np.bincount(place * count + groups, minlength=len(distinct) * count)
    at = at.reshape(len(distinct), count)
    return np.cumsum(at, axis=0) - at / 2, place


def _correlation(x: Floats, y: Floats, times: Floats) -> Floats:
    """Pearson's correlation over the last axis of centred values, each counted ``times``."""
    weighted = times * x
    norm = np.sqrt((weighted * x).sum(-1) * (times * y * y).sum(-1))
    return ratio((weighted * y).sum(-1), norm)
