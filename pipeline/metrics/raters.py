"""How far raters agree beyond chance: Krippendorff's alpha, whoever rated what, and however often.

1 is full agreement, 0 that of ratings dealt out by chance, below 0 raters contradict each other.
Krippendorff, "Computing Krippendorff's Alpha-Reliability", 2011. A unit with a single rating has no
pair to compare, and counts nowhere. NaN where all ratings are equal: chance can't differ then.
"""

import numpy as np
import numpy.typing as npt

from pipeline.metrics.arrays import Floats, Ints


def nominal(counts: Ints) -> float:
    """Alpha of classes, of which any two differ by as much.

    Args:
        counts: (units, classes) how many raters chose each class.
    """
    paired = counts[counts.sum(1) > 1].astype(np.float64)
    return _alpha(paired.sum(1), _unlike(paired), float(_unlike(paired.sum(0))))


def interval(ratings: Floats) -> float:
    """Alpha of numbers, which differ by the square of their difference.

    Args:
        ratings: (units, raters), NaN where a rater did not rate the unit.
    """
    paired = ratings[(~np.isnan(ratings)).sum(1) > 1]
    if not paired.size:
        return float("nan")
    count = (~np.isnan(paired)).sum(1).astype(np.float64)
    values = np.nan_to_num(paired - np.nanmin(paired))  # equal ratings are then exactly zero
    sums, squares = values.sum(1), (values**2).sum(1)
    pooled = count.sum() * squares.sum() - sums.sum() ** 2
    return _alpha(count, 2 * (count * squares - sums**2), float(2 * pooled))


def _alpha(count: Floats, within: Floats, pooled: float) -> float:
    """One minus the observed disagreement over that of chance.

    Args:
        count: (units,) ratings of each, 2 or more.
        within: (units,) the difference summed over each unit's ordered pairs.
        pooled: The same of all ratings as if of one unit.
    """
    total = count.sum()
    if not pooled > 0:
        return float("nan")
    observed = (within / (count - 1)).sum() / total
    return float(1 - observed * total * (total - 1) / pooled)


def _unlike(counts: Floats) -> npt.NDArray[np.float64]:
    """The ordered pairs of different classes, over the last axis."""
    pairs: Floats = counts.sum(-1) ** 2 - (counts**2).sum(-1)
    return pairs
