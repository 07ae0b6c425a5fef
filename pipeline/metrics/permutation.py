"""Whether groups differ by more than chance: a permutation test over units (speakers), and Holm's.

Were a group's name without meaning, any other assignment of the same names to the units would be as
likely. Within strata (corpora), where names are permuted there alone: what strata differ in is then
no evidence.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import factorial, prod

import numpy as np

from pipeline.metrics.arrays import Floats, Ints

EXACT = 20_000  # assignments up to which all are counted; above, as many random ones
_AT_ONCE = 1_000

# From how often each unit counts, (draws, units), to scores, (draws,).
Score = Callable[[Floats], Floats]


@dataclass(frozen=True)
class Gap:
    """The largest score of a group less the smallest; p that chance makes it as large.

    ``assignments`` is how many there are, ``exact`` whether all were counted.
    """

    gap: float
    p: float
    assignments: int
    exact: bool


def gap(groups: Ints, strata: Ints, score: Score, seed: int) -> Gap:
    """Test the gap between groups of units.

    Args:
        groups: (units,) of each unit its group, numbered from 0.
        strata: (units,) within which names are permuted; all equal for none.
        score: Of units, of which a group has its own alone.
        seed: Of random assignments.
    """
    count = assignments(groups, strata)
    drawn = _all(groups, strata) if count <= EXACT else _random(groups, strata, seed)
    observed = _gaps(groups[None], score)[0]
    parts = [drawn[at : at + _AT_ONCE] for at in range(0, len(drawn), _AT_ONCE)]
    null = np.concatenate([_gaps(part, score) for part in parts])
    extreme = int((null >= observed - 1e-12).sum())
    beside = int(count > EXACT)  # of random ones, the one observed counts too
    p = (extreme + beside) / (len(null) + beside)
    return Gap(float(observed), p, count, count <= EXACT)


def assignments(groups: Ints, strata: Ints) -> int:
    """How many different assignments of the same names there are."""
    sizes = [np.bincount(groups[strata == s]).tolist() for s in np.unique(strata)]
    return prod(factorial(sum(own)) // prod(map(factorial, own)) for own in sizes)


def holm(p: Sequence[float]) -> list[float]:
    """The p-values adjusted for their number, each at most 1 (Holm, 1979)."""
    adjusted, least = [0.0] * len(p), 0.0
    for rank, place in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        least = max(least, min(1.0, (len(p) - rank) * p[place]))
        adjusted[place] = least
    return adjusted


def _gaps(drawn: Ints, score: Score) -> Floats:
    """The gap under each assignment, (assignments,), of (assignments, units)."""
    names = range(int(drawn[0].max()) + 1)
    each = [score((drawn == name).astype(np.float64)) for name in names]
    found: Floats = np.ptp(np.stack(each), axis=0)
    return found


def _random(groups: Ints, strata: Ints, seed: int) -> Ints:
    random = np.random.default_rng(seed)
    drawn = np.tile(groups, (EXACT, 1))
    for stratum in np.unique(strata):
        drawn[:, strata == stratum] = random.permuted(drawn[:, strata == stratum], axis=1)
    return drawn


def _all(groups: Ints, strata: Ints) -> Ints:
    places = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
    each = [list(_orders(tuple(np.bincount(groups[own]).tolist()))) for own in places]
    order = np.concatenate(places)
    found = [[name for part in parts for name in part] for parts in product(*each)]
    drawn = np.empty((len(found), len(groups)), np.int64)
    drawn[:, order] = found
    return drawn


def _orders(left: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Each different order of so many of each name."""
    if not any(left):
        yield ()
    for name, count in enumerate(left):
        if count:
            fewer = (*left[:name], count - 1, *left[name + 1 :])
            yield from ((name, *rest) for rest in _orders(fewer))
