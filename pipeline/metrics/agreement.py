"""How close predicted values come to the true ones: concordance, Pearson's r, mean error.

Each of them alone and of resamples of groups (speakers), which are sums of the groups' own sums.
"""

import numpy as np

from pipeline.metrics.arrays import Floats, Ints, ratio

# A spread below this share of the squares that it is the difference of is their rounding.
ROUNDING = 1e-13


def concordance(truth: Floats, guess: Floats) -> float:
    """Lin's concordance correlation (1989), of population moments; 1 for equal values alone.

    ``2 cov / (var + var + (difference of the means)^2)``: Pearson's r, lowered by a shift or by
    another scale. 0 where one side is constant, NaN where both are and do not differ.
    """
    return float(concordance_resamples(truth, guess, *_once(truth))[0])


def concordance_resamples(truth: Floats, guess: Floats, groups: Ints, weights: Floats) -> Floats:
    """The concordance of each resample, (resamples,).

    Args:
        truth: (utterances,).
        guess: (utterances,).
        groups: (utterances,) the group (speaker) that each belongs to.
        weights: (resamples, groups) how often each group was drawn.
    """
    x, y, between, apart = _moments(truth, guess, groups, weights)
    return ratio(2 * between, x + y + apart**2)


def pearson(truth: Floats, guess: Floats) -> float:
    """Pearson's correlation; NaN where one side is constant."""
    return float(pearson_resamples(truth, guess, *_once(truth))[0])


def pearson_resamples(truth: Floats, guess: Floats, groups: Ints, weights: Floats) -> Floats:
    """Pearson's correlation of each resample; arguments as of `concordance_resamples`."""
    x, y, between, _ = _moments(truth, guess, groups, weights)
    return ratio(between, np.sqrt(x) * np.sqrt(y))


def mae(truth: Floats, guess: Floats) -> float:
    """The mean absolute error, in the unit of the values."""
    return float(mae_resamples(truth, guess, *_once(truth))[0])


def mae_resamples(truth: Floats, guess: Floats, groups: Ints, weights: Floats) -> Floats:
    """The mean absolute error of each resample; arguments as of `concordance_resamples`."""
    count, error = _sums([np.ones(len(truth)), np.abs(truth - guess)], groups, weights)
    return ratio(error, count)


def _once(values: Floats) -> tuple[Ints, Floats]:
    """Everything as one group, drawn once."""
    return np.zeros(len(values), np.int64), np.ones((1, 1))


def _moments(
    truth: Floats, guess: Floats, groups: Ints, weights: Floats
) -> tuple[Floats, Floats, Floats, Floats]:
    """Both variances, the covariance and the difference of the means, (resamples,) each."""
    x, y = truth - truth.mean(), guess - guess.mean()  # squares then keep their digits
    parts = [np.ones(len(x)), x, y, x * x, y * y, x * y]
    count, *sums = _sums(parts, groups, weights)
    mean_x, mean_y, xx, yy, xy = (ratio(part, count) for part in sums)
    one, other = _spread(xx, mean_x), _spread(yy, mean_y)
    between = np.where((one > 0) & (other > 0), xy - mean_x * mean_y, 0)
    return one, other, between, mean_x - mean_y + (truth.mean() - guess.mean())


def _spread(squares: Floats, mean: Floats) -> Floats:
    """The variance, exactly 0 for equal values."""
    found = squares - mean**2
    return np.where(found > ROUNDING * squares, found, 0.0)


def _sums(parts: list[Floats], groups: Ints, weights: Floats) -> list[Floats]:
    """The sum of each part over every resample, (resamples,) each."""
    return [weights @ np.bincount(groups, part, weights.shape[1]) for part in parts]
