"""How far predicted distributions over classes are from those of the votes."""

import numpy as np

from pipeline.metrics.arrays import Floats


def jensen_shannon(truth: Floats, guess: Floats) -> Floats:
    """The Jensen-Shannon divergence in bits, (utterances,): 0 for the same, 1 for disjoint ones.

    Lin, 1991: the mean divergence of both from their middle.

    Args:
        truth: (utterances, classes), each row a distribution.
        guess: The same.
    """
    middle = (truth + guess) / 2
    found: Floats = (_divergence(truth, middle) + _divergence(guess, middle)) / (2 * np.log(2))
    return found


def cross_entropy(truth: Floats, guess: Floats) -> Floats:
    """``-sum(truth log guess)`` in nats, (utterances,); infinite where a voted class has no chance.

    The least that a guess can reach is the entropy of the truth. Arguments as of `jensen_shannon`.
    """
    with np.errstate(divide="ignore"):
        logs = np.log(guess, out=np.zeros_like(guess), where=truth > 0)
    found: Floats = -(truth * logs).sum(1)
    return found


def _divergence(one: Floats, other: Floats) -> Floats:
    """Kullback and Leibler's, in nats, (utterances,), where ``other`` covers ``one``."""
    seen = one > 0
    logs = np.log(np.divide(one, other, out=np.ones_like(one), where=seen))
    found: Floats = (one * logs).sum(1)
    return found
